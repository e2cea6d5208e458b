"""What a scenario is asked for, and what it brings back."""

from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from benchmarks.jails import Jails
from benchmarks.stats import Table
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

    def present(self) -> Iterator[Workload]:
        """The workloads that can be measured here; says so of those that cannot."""
        for workload in self.workloads:
            if workload.is_missing:
                self.console.print(
                    f"{workload.name}: left out, because {workload.needs} is not"
                    " installed in this environment"
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

    @classmethod
    def of(cls, jails: Jails, *, name: str, what: str) -> "Results":
        return cls(
            name=name,
            what=what,
            mode=jails.mode,
            layers=jails.layers,
            python=jails.runtime.version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A name's meaning."""

    run: Callable[[Plan], Coroutine[Any, Any, Results]]
    usual_n: int
    quick_n: int = 50
    """Enough to see that it works, too few to say anything."""
