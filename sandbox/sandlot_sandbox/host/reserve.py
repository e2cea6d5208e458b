"""How many cells one zygote keeps ready: a few while it is forked, one when it was not
for a while; and, where a crowd was before, as many as may come again.

A cell is half of what an instance takes to start, and of what an idle one takes of
memory. So who comes in crowds finds half of the next one done, for long after the
instances of the last one have gone. Those are made one by one, while nobody wants one.
"""

import asyncio

from sandlot_sandbox.host.cells import AHEAD_AT_REST, Cells
from sandlot_sandbox.host.crowd import Crowd
from sandlot_sandbox.host.spares import Spares

REST_AFTER_S = 10.0
"""How long a zygote that is not forked keeps as many cells ready as one that is. So
often it is looked at how many those of a crowd should be, too."""

CALM_S = 1.0
"""How long nobody must have taken one here: who starts instances needs the processors.
"""

FAILURE_S = 60.0
"""How long none is made for a crowd where one could not be made."""

MOST = 4_096
"""For a crowd, of one zygote, however much room there is."""


class Reserve:
    """Of one zygote; for a crowd it keeps no more than `most`."""

    def __init__(
        self, cells: Cells, crowd: Crowd, *, spares: Spares, most: int = MOST
    ) -> None:
        self._cells = cells
        self._crowd = crowd
        self._spares = spares
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._last_used = self._calm_from = self._loop.time()
        self._failed = 0
        self._turn_at: float | None = None
        """When it is our turn to have one more made."""

        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        """Not asked of the timer: uvloop's of less than a millisecond does not know."""

        self._is_closed = False

    def prepare(self) -> None:
        """Have cells made ahead of time, so that forks need not wait for them."""
        self.note_use()
        self._cells.prepare()

    def note_use(self) -> None:
        """Somebody wants a cell."""
        self._last_used = self._loop.time()
        self._calm_from = max(self._calm_from, self._last_used + CALM_S)
        self._look_soon()

    def note_fork(self) -> None:
        """There is one instance more."""
        self._crowd.come(self, self._last_used)

    def note_end(self) -> None:
        """There is one instance less."""
        self._crowd.go()
        if self._crowd.expected(self._loop.time()):
            self._look_soon()

    def drop(self) -> int:
        """Memory is short; how many cells there are less."""
        self._spares.note_trouble(self._loop.time())
        return self._cells.give_up(self._cells.extra)

    def close(self) -> None:
        """Its zygote is gone, or is not forked any more."""
        self._is_closed = True
        self._crowd.leave(self)
        if self._timer is not None:
            self._timer.cancel()

    def _look_soon(self) -> None:
        """Unless that is to be anyway."""
        if self._timer is not None:
            if self._timer_at <= self._loop.time() + CALM_S:
                return
            self._timer.cancel()
        if not self._is_closed:
            self._look_after(CALM_S)

    def _look_after(self, pause_s: float) -> None:
        self._timer_at = self._loop.time() + pause_s
        self._timer = self._loop.call_later(pause_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        wanted = min(self._crowd.missing(self, now), self._most)
        is_at_rest = now - self._last_used >= REST_AFTER_S
        few = AHEAD_AT_REST if is_at_rest else self._cells.ahead
        self._cells.rest(max(few, wanted))
        again_s = REST_AFTER_S
        if wanted > self._cells.kept:
            again_s = self._fill(now)
        elif is_at_rest and not self._crowd.expected(now):
            return
        self._look_after(again_s)

    def _fill(self, now: float) -> float:
        """Have one more made, if nothing is against it; when to look again."""
        if self._cells.failed != self._failed:
            self._failed = self._cells.failed
            self._calm_from = now + FAILURE_S
        not_before = max(self._calm_from, self._spares.trouble_until)
        if now < not_before:
            self._turn_at = None
            return not_before - now
        if self._turn_at is not None and now >= self._turn_at:
            self._turn_at = None
            if not self._cells.is_busy:
                if not self._spares.has_room_for(self._cells):
                    return REST_AFTER_S
                self._cells.add()
        if self._turn_at is None:
            self._turn_at = self._spares.turn_at(now)
        return max(0.0, self._turn_at - now)
