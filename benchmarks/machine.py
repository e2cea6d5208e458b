"""The machine a number was measured on; without it, a number says nothing."""

import mmap
import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sandlot_sandbox.spec import Layer

Load = tuple[float, float, float]

_MEMORY = 256 << 20
_MADV_POPULATE_WRITE = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a machine was like before a run."""

    load: Load
    fresh_page_us: float
    """To have a page of memory that was free; a virtual machine may have to ask for
    it. 0 where the kernel (before 5.14) cannot be asked."""

    page_us: float
    """To have one that was in use just before: nobody has to be asked."""


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
    before: Before
    load_after: Load

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        layers = f": {', '.join(self.layers)}" if self.layers else ""
        missing = f"; WITHOUT {', '.join(self.given_up)}" if self.given_up else ""
        before, after = (
            " ".join(f"{x:.2f}" for x in at)
            for at in (self.before.load, self.load_after)
        )
        fresh, used = self.before.fresh_page_us, self.before.page_us
        return [
            ("time", self.time),
            ("machine", f"{self.cpu}, {self.cores} cores, Linux {self.kernel}"),
            ("python", f"functions {self.python}, engine {self.engine_python}"),
            ("isolation", f"{self.mode}{layers}{missing}"),
            ("load average", f"before {before}, after {after}"),
            ("memory", f"a fresh page {fresh:.1f} µs, a used one {used:.1f} µs"),
        ]


def look_before() -> Before:
    """Takes a second, and 256 MB for that long."""
    fresh, used = (_page_us() for _ in range(2))
    return Before(load=os.getloadavg(), fresh_page_us=fresh, page_us=used)


def look(*, before: Before, mode: str, layers: list[Layer], python: str) -> Facts:
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
        before=before,
        load_after=os.getloadavg(),
    )


def _page_us() -> float:
    with mmap.mmap(-1, _MEMORY, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            began = time.perf_counter()
            memory.madvise(_MADV_POPULATE_WRITE)
        except OSError:
            return 0.0
        return (time.perf_counter() - began) * 1e6 / (_MEMORY / mmap.PAGESIZE)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
