"""Time limits of many who nearly always are in time, with one timer for all of them.

`asyncio.timeout` makes a timer of the loop's for each and takes it back again, which
costs more than much of what is done within it. Here a limit is an entry in a
dictionary. The one timer rings when the first of those that were there is due, and
looks through all that are left: so under load it rings once within a limit's length.
"""

import asyncio
import time
from types import TracebackType
from typing import Self


class Timeouts:
    """The timeouts of one event loop."""

    def __init__(self) -> None:
        self._open: dict[Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def within(self, limit_s: float) -> "Timeout":
        """A block that is cancelled after `limit_s`, and then raises `TimeoutError`:
        `with`, and not `async with`, as nothing is waited for at its ends."""
        return Timeout(self, limit_s)

    def add(self, timeout: "Timeout", due: float) -> None:
        self._open[timeout] = due
        if self._timer is None or due < self._rings_at:
            self._ring_at(due)

    def discard(self, timeout: "Timeout") -> None:
        self._open.pop(timeout, None)

    def expire_all(self) -> None:
        """Now, whatever their limits are."""
        for timeout in list(self._open):
            self.discard(timeout)
            timeout.expire()

    def expire_first(self, *, after_s: float, limit_s: float) -> float:
        """The first of those that are there, of which all have that limit, if it began
        so long ago; else in how many seconds that will be so."""
        timeout, due = next(iter(self._open.items()), (None, 0.0))
        if timeout is None:
            return 0.0
        left_s = due - limit_s + after_s - time.monotonic()
        if left_s <= 0.0:
            self.discard(timeout)
            timeout.expire()
        return max(left_s, 0.0)

    def _ring_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        self._timer = asyncio.get_running_loop().call_later(
            max(0.0, due - time.monotonic()), self._ring
        )

    def _ring(self) -> None:
        self._timer = None
        # The loop's clock is coarser than ours, and may be a little before it.
        now = time.monotonic() + _EARLY_S
        expired = [each for each, due in self._open.items() if due <= now]
        # Several are where the loop was late; they end in their turn all the same.
        for timeout in sorted(expired, key=self._open.__getitem__):
            del self._open[timeout]
            timeout.expire()
        if self._open:
            self._ring_at(min(self._open.values()))


_EARLY_S = 0.001


class Timeout:
    """One block's; as `asyncio.Timeout` otherwise."""

    __slots__ = ("_cancelling", "_has_expired", "_limit_s", "_task", "_timeouts")

    def __init__(self, timeouts: Timeouts, limit_s: float) -> None:
        self._timeouts = timeouts
        self._limit_s = limit_s
        self._has_expired = False

    def expired(self) -> bool:
        """Whether it was this limit that ended the block."""
        return self._has_expired

    def expire(self) -> None:
        self._has_expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"  # noqa: S101
        self._task = task
        self._cancelling = task.cancelling()
        self._timeouts.add(self, time.monotonic() + self._limit_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timeouts.discard(self)
        # One that was cancelled by somebody else as well is cancelled.
        if (
            self._has_expired
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error
