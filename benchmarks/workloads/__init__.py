"""The functions that are measured: from next to nothing to pandas."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from benchmarks import cache
from benchmarks.stats import Series

_HERE = Path(__file__).parent
OUR_RUNTIME = f"python3.{sys.version_info.minor}"
"""That our own environment's packages are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked for: p50 and p99 in ms."""

    must: tuple[float | None, float | None] = (None, None)
    aim: tuple[float | None, float | None] = (None, None)

    def series(self, label: str, *, isolation: str = "") -> Series:
        """Of samples that have to meet it."""
        return Series(
            label=label,
            target_ms=self.must[0],
            target_p99_ms=self.must[1],
            aim_ms=self.aim[0],
            aim_p99_ms=self.aim[1],
            isolation=isolation,
        )


NOTHING = Target()
STANDBY = Target(must=(0.35, 1.5), aim=(0.12, 0.5))
WARM = Target(must=(0.12, 0.5), aim=(0.05, 0.2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A handler, an event for it, and the times that are asked of it."""

    name: str
    what: str
    event: dict[str, object]
    needs: str = ""
    """A package that goes into the function's: from where peers are installed, or out
    of our own environment."""

    cold: Target = NOTHING
    standby: Target = NOTHING
    warm: Target = NOTHING

    @property
    def handler(self) -> str:
        return f"{self.module}.handler"

    @property
    def module(self) -> str:
        return f"{self.name}_function"

    @property
    def payload(self) -> bytes:
        return json.dumps(self.event).encode()

    def is_missing(self, runtime: str) -> bool:
        """Whether what it needs is not installed here for that runtime."""
        return (
            bool(self.needs)
            and self._in_our_environment(runtime) is None
            and cache.packages(self.needs, runtime) is None
        )

    def sources(self, runtime: str) -> Iterator[Path]:
        """Files and folders that make up its package."""
        yield _HERE / f"{self.module}.py"
        if (installed := cache.packages(self.needs, runtime)) is not None:
            yield from (each for each in installed.iterdir() if each.name != "bin")
            return
        spec = self._in_our_environment(runtime)
        if spec is not None and spec.origin is not None:
            package = Path(spec.origin).parent
            yield package
            # Where wheels keep the shared libraries they bring along.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                yield libraries

    def _in_our_environment(self, runtime: str) -> ModuleSpec | None:
        # Compiled parts are for one version of the interpreter.
        return find_spec(self.needs) if self.needs and runtime == OUR_RUNTIME else None


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="small",
            what="adds two numbers",
            event={"a": 2, "b": 40},
            cold=Target(must=(2.0, 6.0), aim=(1.0, 2.5)),
            standby=STANDBY,
            warm=WARM,
        ),
        Workload(
            name="stdlib",
            what="imports ssl, asyncio, http.client, …; signs a message",
            event={"amount": "12.50", "at": "2026-11-24T10:00:00+00:00"},
            warm=WARM,
        ),
        Workload(
            name="numpy",
            what="imports numpy; mean and maximum of a small array",
            event={"values": [3, 1, 4, 1, 5, 9, 2, 6]},
            needs="numpy",
            cold=Target(must=(2.5, None), aim=(1.5, None)),
            standby=Target(must=(0.6, None), aim=(0.25, None)),
            warm=WARM,
        ),
        Workload(
            name="pandas",
            what="imports pandas; the first DataFrame, and its correlations",
            event={"a": [3, 1, 4, 1, 5, 9], "b": [2, 7, 1, 8, 2, 8]},
            needs="pandas",
            cold=Target(must=(8.0, None), aim=(4.0, None)),
            standby=Target(must=(3.5, None), aim=(1.5, None)),
        ),
    )
}
