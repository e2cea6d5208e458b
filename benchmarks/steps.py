"""A chain of steps out of marks, less what the marks themselves took.

A step lasts from the mark before it to its own, and so holds the cost of exactly one
mark, whatever is done in it. The chains have a step in which nothing is done; its p50
is taken off each step, once for each of its marks. What the first mark in a clone costs
on top is a step of its own, and left out. The whole is the sum of what is left.
"""

from collections.abc import Iterable

from benchmarks.board import EMPTY, FIRST
from benchmarks.stats import Series, Table

Step = tuple[str, int, int]
"""A step that is done, the monotonic clock in ns, page faults since the mark before."""

_Sums = dict[str, tuple[float, int, int]]
"""By name: seconds, page faults, marks."""


class Chain:
    """Samples of one chain."""

    def __init__(self) -> None:
        self._samples: list[_Sums] = []
        self._mark = Series(label=EMPTY)

    def add(self, began_ns: int, steps: Iterable[Step]) -> None:
        """One sample. A step that was done several times is one, with its sum."""
        sums: _Sums = {}
        for name, at_ns, faults in steps:
            took = (at_ns - began_ns) / 1e9
            began_ns = at_ns
            kind = name.rpartition(": ")[2]
            if kind == EMPTY:
                self._mark.add(took)
            elif kind != FIRST:
                seconds, so_far, marks = sums.get(name, (0.0, 0, 0))
                sums[name] = (seconds + took, so_far + faults, marks + 1)
        self._samples.append(sums)

    @property
    def mark_s(self) -> float:
        """What a mark costs, p50."""
        return self._mark.ms(50) / 1e3

    def steps(self) -> list[Series]:
        """In the order of their first appearance."""
        found: dict[str, Series] = {}
        for sums in self._samples:
            for name, (seconds, faults, marks) in sums.items():
                series = found.setdefault(name, Series(label=name))
                series.add(max(0.0, seconds - marks * self.mark_s))
                series.page_faults += faults
        return list(found.values())

    def whole(self, label: str, *, target_ms: float | None = None) -> Series:
        """The steps of each sample, together."""
        series = Series(label=label, target_ms=target_ms)
        for sums in self._samples:
            series.add(
                sum(max(0.0, took - n * self.mark_s) for took, _, n in sums.values())
            )
            series.page_faults += sum(faults for _, faults, _ in sums.values())
        return series

    def table(self, title: str, *notes: str) -> Table:
        marks = sum(n for _, _, n in self._samples[0].values()) if self._samples else 0
        looking = (
            f"{marks} marks at {self.mark_s * 1e6:.1f} µs each (p50 of a step in which"
            " nothing is done) are taken off their steps"
        )
        return Table(
            title=title,
            series=[*self.steps(), self.whole("whole")],
            notes=[looking, *notes],
        )
