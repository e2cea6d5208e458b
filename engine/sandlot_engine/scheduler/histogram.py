"""How long a function is left alone: what to keep of it, how long, and when to be back.

After Shahrad et al., "Serverless in the Wild" (ATC 2020): times between invocations,
minute by minute and up to four hours. Where they say something, what is kept goes after
the time in which nearly all of them came, and what may go at once is back shortly
before most of them did. Where they do not, the fixed time of the machine holds.
"""

from array import array
from dataclasses import dataclass

BIN_S = 60.0
BINS = 240
"""Four hours. Longer times are counted, and in no bin."""

_MOST = 65_535
"""In a bin; at that, all bins are halved, so that the newer times weigh more."""

HEAD, TAIL = 0.05, 0.99
MARGIN = 0.1
"""Of a time: so much earlier to be back, so much longer to stay."""

MIN_TIMES = 10
"""Fewer say nothing."""

MAX_OUT_OF_BOUNDS = 0.5
"""Where more than this share of all times is in no bin, they say nothing."""

MIN_SPREAD = 2.0
"""Squared coefficient of variation of the bins' counts, at least: times that are spread
evenly over all bins tell nothing about the next one."""


@dataclass(frozen=True, slots=True)
class Window:
    """When the next invocation is to be expected, in seconds since the last one."""

    opens_s: float
    """Not before; 0 where it may come at once."""

    closes_s: float


class Histogram:
    """Of one function. Half a kilobyte, however long it lives."""

    __slots__ = ("_bins", "_is_known", "_out_of_bounds", "_total", "_window")

    def __init__(self) -> None:
        self._window: Window | None = None
        self._is_known = True
        """Whether `_window` is that of all times so far."""

        self._bins: array[int] | None = None
        self._out_of_bounds = 0
        self._total = 0

    def note(self, idle_s: float) -> None:
        """It was left alone for so long."""
        if self._bins is None:
            self._bins = array("H", bytes(2 * BINS))
        number = int(idle_s / BIN_S)
        self._is_known = False
        self._total += 1
        if number >= BINS:
            self._out_of_bounds += 1
        elif self._bins[number] < _MOST:
            self._bins[number] += 1
        else:
            self._halve()
            self._bins[number] += 1

    def window(self) -> Window | None:
        """None where the times do not tell."""
        if not self._is_known:
            self._window = self._find_window()
            self._is_known = True
        return self._window

    def _find_window(self) -> Window | None:
        if self._bins is None or self._total < MIN_TIMES:
            return None
        within = self._total - self._out_of_bounds
        if within < self._total * (1 - MAX_OUT_OF_BOUNDS) or self._spread() < (
            MIN_SPREAD
        ):
            return None
        head, tail = self._percentile(HEAD, within), self._percentile(TAIL, within)
        # Of the bin with the head its beginning, of that with the tail its end.
        return Window(
            opens_s=head * BIN_S * (1 - MARGIN),
            closes_s=(tail + 1) * BIN_S * (1 + MARGIN),
        )

    def _spread(self) -> float:
        assert self._bins is not None  # noqa: S101
        mean = sum(self._bins) / BINS
        squares = sum(count * count for count in self._bins) / BINS
        return (squares - mean * mean) / (mean * mean) if mean else 0.0

    def _percentile(self, share: float, within: int) -> int:
        assert self._bins is not None  # noqa: S101
        left = share * within
        for number, count in enumerate(self._bins):
            left -= count
            if left <= 0:
                return number
        return BINS - 1

    def _halve(self) -> None:
        assert self._bins is not None  # noqa: S101
        for number, count in enumerate(self._bins):
            self._bins[number] = count // 2
        self._out_of_bounds //= 2
        self._total = sum(self._bins) + self._out_of_bounds
