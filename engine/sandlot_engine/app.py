"""The engine's commands: `up` runs it, `doctor` tells what this machine can enforce.

Imports little, because the supervisor lives here: see `supervisor.py`.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandlot_engine.options import UpOptions
from sandlot_engine.supervisor import up
from sandlot_sandbox import probe
from sandlot_sandbox.launcher import cgroups, networks, runtimes

__all__ = ["UpOptions", "doctor", "main", "up"]


def doctor(*, given_up: frozenset[str]) -> dict[str, Any]:
    """Try every layer, and list the runtimes; `ok` says whether `up` would start.

    As JSON can hold it. Raises `ValueError` for a layer that cannot be given up.
    """
    if unknown := sorted(given_up - probe.CAN_BE_GIVEN_UP):
        raise ValueError(
            f"{unknown[0]!r} cannot be given up; these can: "
            + ", ".join(sorted(probe.CAN_BE_GIVEN_UP))
        )
    layers = probe.try_all(cgroups.find(), given_up=given_up)
    with tempfile.TemporaryDirectory() as folder:
        found, _ = runtimes.discover(Path(folder))
    return {
        "layers": [asdict(layer) for layer in layers],
        "egress": {"missing": networks.probe_egress()},
        "runtimes": [
            {"name": one.name, "version": one.version}
            for one in found
            if not one.is_image
        ],
        "ok": probe.is_enough(layers),
    }


def main() -> int:
    """`sandlotd`: the engine with its defaults, for service managers."""
    return up(UpOptions())
