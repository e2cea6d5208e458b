"""What a scenario is asked for, and what it brings back."""

import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from benchmarks.engines import Engine
from benchmarks.jails import Jails
from benchmarks.plots import Plot
from benchmarks.stats import Sheet, SideBySide, Table
from benchmarks.workloads import Workload
from sandlot_sandbox.spec import Layer

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often, what, and in which interpreter."""

    n: int
    workloads: list[Workload]
    runtime: str
    console: Console
    """For what is said on the way; results go elsewhere."""

    is_quick: bool = False
    """Only to see that it works."""

    trace: Path | None = None
    """A folder with an invocation trace in the format of Azure's; for `trace`."""

    def present(self) -> Iterator[Workload]:
        """The workloads that can be measured here; says so of those that cannot."""
        for workload in self.workloads:
            if workload.is_missing(self.runtime):
                self.console.print(
                    f"{workload.name}: left out, because {workload.needs} for"
                    f" {self.runtime} is not here; python -m benchmarks peers"
                    f" --runtime {self.runtime} installs it"
                )
            else:
                yield workload

    def progress(self, rounds: Iterable[T], label: str, total: int) -> Iterable[T]:
        """A bar, where somebody is looking."""
        if not self.console.is_terminal:
            self.console.print(f"{label}: {total} rounds")
            return rounds
        return track(rounds, label, total=total, console=self.console, transient=True)


@dataclass(slots=True, kw_only=True)
class Results:
    """All that a scenario found."""

    name: str
    what: str
    """What a number in the tables is."""

    mode: str
    """`root` or `rootless`."""

    layers: list[Layer]
    python: str
    """The functions' interpreter."""

    tables: list[Table] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    side_by_side: list[SideBySide] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    """Peers and parts that are missing here, each with its reason."""

    @property
    def isolation(self) -> str:
        """In a word or two, for every number of ours."""
        holding = sum(layer.holds for layer in self.layers)
        return f"{self.mode} jail, {holding} of {len(self.layers)} layers"

    @classmethod
    def of(cls, ours: Jails | Engine, *, name: str, what: str) -> "Results":
        runtime = ours.runtime
        return cls(
            name=name,
            what=what,
            mode=ours.mode,
            layers=ours.layers,
            python=runtime if isinstance(runtime, str) else runtime.version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A name's meaning."""

    run: Callable[[Plan], Coroutine[Any, Any, Results]]
    usual_n: int
    quick_n: int = 50
    """Enough to see that it works, too few to say anything."""

    @property
    def summary(self) -> str:
        """The first line of its module's docstring."""
        text = sys.modules[self.run.__module__].__doc__ or ""
        return text.strip().partition("\n\n")[0].replace("\n", " ")
