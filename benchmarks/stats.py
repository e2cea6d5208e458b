"""Samples of one kind, and what is said about them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

ENOUGH = 2_000
"""Samples for a verdict that may be quoted: a p99 then rests on twenty of them."""


@dataclass(slots=True, kw_only=True)
class Series:
    """Seconds that the same thing took, again and again."""

    label: str
    target_ms: float | None = None
    """What the p50 should not exceed."""

    target_p99_ms: float | None = None
    aim_ms: float | None = None
    """What the p50 would rather not exceed. Nobody is told off for it."""

    aim_p99_ms: float | None = None
    isolation: str = ""
    """What stands between this and its neighbours: "none" is an answer, too."""

    samples_s: list[float] = field(default_factory=list)
    page_faults: int = 0
    """Minor faults of all samples together, where somebody counted them."""

    def __repr__(self) -> str:
        return f"<Series {self.label} · {len(self.samples_s)}>"

    def add(self, seconds: float) -> None:
        self.samples_s.append(seconds)

    def ms(self, share: float) -> float:
        """The nearest rank: a time that something really took."""
        return percentile(sorted(self.samples_s), share) * 1e3

    @property
    def mean_ms(self) -> float:
        return sum(self.samples_s) / max(1, len(self.samples_s)) * 1e3

    @property
    def is_met(self) -> bool | None:
        """None where there is no target."""
        return self._is_below(self.target_ms, self.target_p99_ms)

    @property
    def is_aim_met(self) -> bool | None:
        """None where there is no aim."""
        return self._is_below(self.aim_ms, self.aim_p99_ms)

    @property
    def is_enough(self) -> bool:
        return len(self.samples_s) >= ENOUGH

    def _is_below(self, p50_ms: float | None, p99_ms: float | None) -> bool | None:
        limits = [(50, p50_ms), (99, p99_ms)]
        asked = [(share, limit) for share, limit in limits if limit is not None]
        if not asked:
            return None
        return all(self.ms(share) <= limit for share, limit in asked)


@dataclass(slots=True, kw_only=True)
class Table:
    """Series of one workload that belong side by side."""

    title: str
    series: list[Series]
    floor: Series | None = None
    """What the others' ratios are to. Without it the series are steps of a whole."""

    floor_name: str = "bare fork"

    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Line:
    """A row of a sheet: one number, and what was asked of it."""

    what: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    is_more_better: bool = False
    isolation: str = ""
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """None where nothing was asked."""
        return self._is_as_good_as(self.must)

    @property
    def is_aim_met(self) -> bool | None:
        return self._is_as_good_as(self.aim)

    def _is_as_good_as(self, wanted: float | None) -> bool | None:
        if wanted is None:
            return None
        return self.value >= wanted if self.is_more_better else self.value <= wanted


@dataclass(slots=True, kw_only=True)
class Sheet:
    """Numbers that are no samples of a time: rates, sizes, ratios."""

    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class SideBySide:
    """Several numbers of each of many things: a row for each."""

    title: str
    titles: list[str]
    rows: list[list[str | float]]
    notes: list[str] = field(default_factory=list)


def differences(
    label: str, ours: Series, floor: Series, *, target_ms: float | None = None
) -> Series:
    """Of samples that were taken in turns, each less its neighbour."""
    pairs = zip(ours.samples_s, floor.samples_s, strict=True)
    samples = [a - b for a, b in pairs]
    return Series(label=label, target_ms=target_ms, samples_s=samples)


def median_between_ms(series: Series) -> tuple[float, float]:
    """Where the median is with 95 % certainty, whatever the samples' distribution: as
    the sign test has it."""
    ordered = sorted(series.samples_s)
    reach = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - reach))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + reach))
    return ordered[low] * 1e3, ordered[high] * 1e3


def percentile(ordered: list[float], share: float) -> float:
    """Of sorted values; 0 if there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def fairness(shares: Sequence[float]) -> float:
    """Jain's index: 1 where all have the same, 1/n where one has everything."""
    squares = len(shares) * sum(share * share for share in shares)
    return sum(shares) ** 2 / squares if squares else 1.0
