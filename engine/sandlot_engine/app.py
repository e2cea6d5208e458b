"""The engine's commands: `up` runs it, `doctor` tells what this machine can enforce.

Imports little, because the supervisor lives here: see `supervisor.py`.
"""

import importlib.util
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandlot_engine.options import UpOptions
from sandlot_engine.registration import NotRegistered, register, unregister
from sandlot_engine.supervisor import Refused, default_data, up
from sandlot_sandbox import probe
from sandlot_sandbox.launcher import cgroups, networks, registry, runtimes

__all__ = [
    "NotRegistered",
    "Refused",
    "UpOptions",
    "default_data",
    "doctor",
    "main",
    "register",
    "rotate_master_key",
    "unregister",
    "up",
]

for _needed in ("pyseccomp", "uvloop"):
    # The client's wheel has the engine's code, but not what its processes import. That
    # is told here, to whoever asks for them, and not by one of them in a traceback.
    if importlib.util.find_spec(_needed) is None:
        raise ModuleNotFoundError(
            f"no module {_needed!r}: pip install 'sandlot[engine]'", name=_needed
        )


def rotate_master_key(data: Path) -> dict[str, int]:
    """See `rotation.rotate_master_key`."""
    # The store and all that it needs: the supervisor imports us.
    from sandlot_engine import rotation

    return rotation.rotate_master_key(data)


def doctor(*, given_up: frozenset[str], data: str | None = None) -> dict[str, Any]:
    """Try every layer, and list the runtimes; `ok` says whether `up` would start. What
    is registered with the engine on the folder `data` is as that found it last.

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
            *(_told(one.name, one.version) for one in found if not one.is_image),
            *_registered(Path(data) if data else default_data()),
        ],
        "ok": probe.is_enough(layers),
    }


def _registered(data: Path) -> list[dict[str, Any]]:
    try:
        entries = registry.read(data / "runtimes" / registry.FILE)
    except registry.Unreadable as unreadable:
        return [_told("registered runtimes", "", str(unreadable))]
    return [
        _told(one.name, one.runtime.version if one.runtime else "", one.problem)
        for one in entries
    ]


def _told(name: str, version: str, problem: str = "") -> dict[str, Any]:
    told = {"name": name, "version": version}
    return told | {"problem": problem} if problem else told


def main() -> int:
    """`sandlotd`: the engine with its defaults, for service managers."""
    if sys.argv[1:]:
        # Or who names a folder would have an engine on the usual one.
        said = (
            "sandlotd: the engine with its defaults, and so without options: they are"
        )
        sys.stderr.write(f"{said} those of `sandlot up`\n")
        return os.EX_USAGE
    return up(UpOptions())
