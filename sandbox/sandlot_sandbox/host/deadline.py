"""Until when something has to have happened, moved again and again."""

import asyncio
import time
from collections.abc import Callable

_EARLY_S = 0.001
"""The loop's clock may be so much before ours."""


class Deadline:
    """Calls `lapsed` once it is over. Where it is moved with each event there is not a
    timer for each: one that rings too early is let ring."""

    __slots__ = ("_due", "_lapsed", "_rings_at", "_timer")

    def __init__(self, lapsed: Callable[[], None]) -> None:
        self._lapsed = lapsed
        self._due: float | None = None
        self._rings_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, delay_s: float) -> None:
        """It is in so many seconds; not when it was."""
        self._due = due = time.monotonic() + delay_s
        if self._timer is None or due < self._rings_at:
            self._start(due, delay_s)

    def lift(self) -> None:
        """There is none. The timer stays: most likely there is another before it
        rings."""
        self._due = None

    def close(self) -> None:
        """There is none any more."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._lapsed = _nothing  # or its owner and it would hold each other

    def _start(self, due: float, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._due is None:
            return
        left_s = self._due - time.monotonic()
        if left_s > _EARLY_S:
            self._start(self._due, left_s)
        else:
            self._due = None
            self._lapsed()


def _nothing() -> None: ...
