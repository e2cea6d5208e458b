"""Samples of one kind, and what is said about them."""

import math
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Series:
    """Seconds that the same thing took, again and again."""

    label: str
    target_ms: float | None = None
    """What the p50 should not exceed."""

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
        return None if self.target_ms is None else self.ms(50) <= self.target_ms


@dataclass(slots=True, kw_only=True)
class Table:
    """Series of one workload that belong side by side."""

    title: str
    series: list[Series]
    floor: Series | None = None
    """What the others' ratios are to. Without it the series are steps of a whole."""

    floor_name: str = "bare fork"

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
