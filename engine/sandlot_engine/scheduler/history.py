"""What a version was used for so far, and what follows for the time to come. Pure: time
is an argument, seconds of one clock."""

import math
from collections.abc import Iterable

from sandlot_engine.scheduler.histogram import Histogram

MAX_STANDBYS_OF_VERSION = 8
"""That stand by for one version, however many were missing."""

MAX_SLOW_STANDBYS = 2
"""Of a version whose instances import for themselves: each has all of its memory alone,
and took that long to be there."""

SLOW_S = 0.05
"""An init that takes longer is an import of its own."""

CALM_S = 60.0
"""After so long without a standby having been used, half of them are enough."""

REST = 60
"""After one that could not be started, or ended unused, none is for so many times as
long as its init took: nobody has paid for that, and by it one could compute for
nothing, over and over."""

MIN_RUNS = 8
"""Fewer tell nothing of how long the next one takes."""

_NEW = 0.2
"""How much the newest value counts in an average."""


class History:
    """Of one version. A kilobyte at most."""

    __slots__ = (
        "_barred_until",
        "_calm_since",
        "_histogram",
        "_is_lost",
        "_mean_run_s",
        "_run_spread_s",
        "_runs",
        "_wanted",
        "frequency",
        "last_used",
        "memory_mb",
        "running",
        "start_s",
    )

    def __init__(self, now: float) -> None:
        self.last_used = now
        self.running = 0
        """Invocations that wait or run."""

        self.frequency = 0.0
        """Invocations, of which one that is an hour old counts half."""

        self.start_s = 0.0
        """What a start of it took, on average; 0 where it is not known."""

        self.memory_mb = 1.0
        """What an instance had at its peak."""

        self._wanted = 0
        self._barred_until = now
        self._is_lost = False
        self._calm_since = now
        self._histogram = Histogram()
        self._mean_run_s = 0.0
        self._run_spread_s = 0.0
        self._runs = 0

    # --- what happens -------------------------------------------------------------

    def note_arrival(self, now: float) -> None:
        """Somebody wants it."""
        idle_s = max(0.0, now - self.last_used)
        if not self.running and self.frequency:
            self._histogram.note(idle_s)
        self.frequency = self.frequency * 0.5 ** (idle_s / _HALF_LIFE_S) + 1.0
        self.running += 1
        self.last_used = now

    def note_end(self, now: float) -> None:
        """However it ended."""
        self.running -= 1
        self.last_used = now

    def note_run(self, *, run_s: float, init_s: float | None, memory_mb: float) -> None:
        """It answered: from now on it is worth a standby. `init_s` is None where it was
        warm."""
        self._runs += 1
        error = run_s - self._mean_run_s
        self._mean_run_s += _NEW * error if self._mean_run_s else run_s
        self._run_spread_s += _NEW * (abs(error) - self._run_spread_s)
        self.memory_mb = max(1.0, memory_mb)
        if init_s:
            self.start_s += (init_s - self.start_s) * (_NEW if self.start_s else 1.0)
        self._is_lost = False
        if not self._wanted:
            self._wanted = 1

    def note_missing(self, now: float) -> None:
        """One had to be started for somebody, who would have had a standby."""
        if self._wanted:
            self._wanted = min(2 * self._wanted, self._most)
            self._calm_since = now

    def note_taken(self, now: float) -> None:
        """A standby was used."""
        self._calm_since = now

    def note_failed(self, now: float, *, took_s: float) -> None:
        """No standby could be started, which was known after so long, or one ended that
        nobody had used, whose init took that: there is to be none until it has
        answered, nor for a while."""
        self._wanted = 0
        self._barred_until = max(self._barred_until, now + took_s * REST)

    def note_back(self) -> None:
        """It was made ready for an invocation that is expected."""
        self._wanted = max(1, self._wanted)

    def note_lost(self) -> None:
        """It could not be made ready: nobody tries again until it has answered."""
        self._is_lost = True

    # --- what follows -------------------------------------------------------------

    def standbys(self, now: float, *, keep_s: float) -> int:
        """How many are to stand by. `keep_s`: how long after its last use, where its
        history does not tell."""
        if not self.running and not self.is_expected(now, keep_s=keep_s):
            self._wanted = min(self._wanted, 1)
            return 0
        if now < self._barred_until:
            return 0
        if self._wanted > 1 and now - self._calm_since >= CALM_S:
            self._wanted //= 2
            self._calm_since = now
        return min(self._wanted, self._most)

    def is_expected(self, now: float, *, keep_s: float) -> bool:
        """Whether the next invocation may come at any time now."""
        idle_s = now - self.last_used
        window = self._histogram.window()
        if window is None:
            return idle_s < keep_s
        return window.opens_s <= idle_s < window.closes_s

    def free_in_s(self, ran: Iterable[float], *, ahead: int) -> float:
        """In how many seconds one is likely to be free of those that have run for so
        long, after `ahead` others have had theirs; infinite where that is not known.
        Of what runs longer than usual nothing is known."""
        if self._runs < MIN_RUNS:
            return math.inf
        usual_s = self._mean_run_s + self._run_spread_s
        left = sorted(usual_s - ran_s for ran_s in ran if ran_s < usual_s)
        return left[ahead] if ahead < len(left) else math.inf

    def keep_s(self, otherwise: float) -> float:
        """How long an instance that is idle stays: as long as is usual, or less where
        the next invocation is not expected so late."""
        window = self._histogram.window()
        return otherwise if window is None else min(otherwise, window.closes_s)

    def is_coming_back(self, now: float) -> bool:
        """Whether the next invocation is expected about now, after a time in which it
        was not."""
        window = self._histogram.window()
        idle_s = now - self.last_used
        return (
            not (self.running or self._is_lost)
            and window is not None
            and 0 < window.opens_s <= idle_s < window.closes_s
        )

    def is_away(self, now: float) -> bool:
        """Whether the next invocation is expected, and not before a while: until then
        nothing of it is needed."""
        window = self._histogram.window()
        return (
            not self.running
            and window is not None
            and now - self.last_used < window.opens_s
        )

    def worth(self) -> float:
        """Of an idle instance, beside others: how often it saves how long a start, by
        what it takes."""
        return self.frequency * max(self.start_s, _FORK_S) * 1_000 / self.memory_mb

    @property
    def _most(self) -> int:
        is_slow = self.start_s > SLOW_S
        return MAX_SLOW_STANDBYS if is_slow else MAX_STANDBYS_OF_VERSION


_HALF_LIFE_S = 3_600.0
_FORK_S = 0.002
