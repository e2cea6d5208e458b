"""The engine's commands: `up` runs it, `doctor` tells what this machine can enforce.

Imports little, because the supervisor lives here: see `supervisor.py`.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from sandlot_engine.options import UpOptions
from sandlot_engine.supervisor import up
from sandlot_sandbox import probe
from sandlot_sandbox.launcher import runtimes
from sandlot_sandbox.spec import Layer

__all__ = ["UpOptions", "doctor", "main", "up"]


def doctor(*, as_json: bool, prove: bool) -> int:
    """Try every layer and list the runtimes; 0 if `up` would start, 78 if not."""
    if prove:
        print(  # noqa: T201 - the operator's terminal
            "sandlot: --prove is not there yet; the rows below were all tried just now",
            file=sys.stderr,
        )
        return 2
    layers = probe.try_all()
    with tempfile.TemporaryDirectory() as folder:
        found, _ = runtimes.discover(Path(folder))
    if as_json:
        print(  # noqa: T201
            json.dumps(
                {
                    "layers": [asdict(layer) for layer in layers],
                    "runtimes": [{"name": r.name, "version": r.version} for r in found],
                    "ok": probe.is_enough(layers),
                }
            )
        )
    else:
        _print_rows(layers, found)
    return 0 if probe.is_enough(layers) else probe.EX_CONFIG


def _print_rows(layers: list[Layer], found: list[runtimes.Runtime]) -> None:
    width = max(len(layer.name) for layer in layers)
    for layer in layers:
        mark = "ok     " if layer.holds else "MISSING"
        print(f"{mark} {layer.name:<{width}}  stops {layer.stops}")  # noqa: T201
        if layer.detail:
            print(f"{'':<{width + 8}}  {layer.detail}")  # noqa: T201
    names = ", ".join(f"{r.name} ({r.version})" for r in found) or "none"
    print(f"runtimes: {names}")  # noqa: T201
    if not probe.is_enough(layers):
        print("sandlot up would refuse to start here.")  # noqa: T201


def main() -> int:
    """`sandlotd`: the engine with its defaults, for service managers."""
    return up(UpOptions())
