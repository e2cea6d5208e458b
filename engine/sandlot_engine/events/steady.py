"""The calendar without its jumps.

Due times outlive the engine, so they are times of day; but a clock that is set while
the engine runs must neither start all retries at once nor let events grow old in a
moment. So times are told from where the calendar was, by the clock that never jumps.
Whoever keeps times asks for `jump` now and then, and moves what it keeps.
"""

from datetime import datetime, timedelta

from sandlot_engine.clock import Clock

MAX_DRIFT_S = 2.0
"""Less than this is no jump: the two clocks never agree to the last."""


class SteadyTime:
    """Times of day, UTC, that go on evenly."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now()
        self._began_at = clock.monotonic()

    def now(self) -> datetime:
        passed_s = self._clock.monotonic() - self._began_at
        return self._began + timedelta(seconds=passed_s)

    def jump(self) -> timedelta:
        """How far the calendar has jumped since the last call: forward if positive.
        From now on times are the calendar's again."""
        jumped = self._clock.now() - self.now()
        if abs(jumped.total_seconds()) <= MAX_DRIFT_S:
            return timedelta()
        self._began += jumped
        return jumped
