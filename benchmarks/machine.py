"""The machine a number was measured on; without it, a number says nothing."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sandlot_sandbox.spec import Layer

Load = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What goes with every table."""

    time: str
    cpu: str
    cores: int
    kernel: str
    python: str
    engine_python: str
    mode: str
    """`root` or `rootless`."""

    layers: list[str]
    """The isolation that every instance had."""

    given_up: list[str]
    load_before: Load
    load_after: Load

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        missing = f"; WITHOUT {', '.join(self.given_up)}" if self.given_up else ""
        before, after = (" ".join(f"{x:.2f}" for x in at) for at in self._loads())
        return [
            ("time", self.time),
            ("machine", f"{self.cpu}, {self.cores} cores, Linux {self.kernel}"),
            ("python", f"functions {self.python}, engine {self.engine_python}"),
            ("isolation", f"{self.mode}: {', '.join(self.layers)}{missing}"),
            ("load average", f"before {before}, after {after}"),
        ]

    def _loads(self) -> tuple[Load, Load]:
        return self.load_before, self.load_after


def look(*, load_before: Load, mode: str, layers: list[Layer], python: str) -> Facts:
    return Facts(
        time=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=python,
        engine_python=platform.python_version(),
        mode=mode,
        layers=[layer.name for layer in layers if layer.holds],
        given_up=[layer.name for layer in layers if not layer.holds],
        load_before=load_before,
        load_after=load(),
    )


def load() -> Load:
    return os.getloadavg()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
