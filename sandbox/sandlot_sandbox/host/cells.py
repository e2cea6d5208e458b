"""Cells of one zygote that wait for an instance, made ahead of time."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine

from sandlot_sandbox.errors import SandboxError, ZygoteLost
from sandlot_sandbox.host.berth import Berth
from sandlot_sandbox.host.room import OF_BERTH
from sandlot_sandbox.host.spares import Spares

REFILL_S = 0.01
"""A cell that was taken is replaced this much later, so that making the next one does
not compete with the start that the last one was taken for."""

AHEAD = 4
"""Cells that are kept ready while nobody asks for one."""

AHEAD_AT_REST = 1
"""Of these, what a zygote keeps that was not forked for a while: each is some twenty
open files of ours, and a tenant may have any number of functions that nobody calls."""


ENDING = 64
"""Cells of one zygote that end at once: who is behind thousands would wait for longer
than an end may take."""


class Cells:
    """Gives out cells, first come, first served, and has others made meanwhile."""

    def __init__(
        self,
        make: Callable[[], Awaitable[Berth]],
        *,
        drop: Callable[[int], Awaitable[object]],
        spares: Spares,
        ahead: int = AHEAD,
        owner: int = 0,
    ) -> None:
        self._make = make
        self._drop = drop
        self._spares = spares
        self.ahead = ahead
        self.owner = owner
        """Whose they are, by a number."""

        self.each = OF_BERTH
        """Open files that one takes while it waits."""

        self.failed = 0
        """Those that could not be made, so far."""

        spares.add(self)
        self._ready: deque[Berth] = deque()
        self._wanted: deque[asyncio.Future[Berth]] = deque()
        self._on_the_way = 0
        self._ending = asyncio.Semaphore(ENDING)
        self._makers: set[asyncio.Task[None]] = set()
        self._refill: asyncio.TimerHandle | None = None
        self._closed_because: str | None = None

    def __repr__(self) -> str:
        return (
            f"<Cells {len(self._ready)} ready, {self._on_the_way} on the way,"
            f" {len(self._wanted)} wanted>"
        )

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def kept(self) -> int:
        """Those that nobody waits for, or will before they are here."""
        return max(0, len(self._ready) + self._on_the_way - len(self._wanted))

    @property
    def extra(self) -> int:
        """How many of them only a crowd needs: see `host/reserve.py`."""
        return max(0, self.kept - self.ahead)

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for one, or one is being made."""
        return bool(self._wanted or self._on_the_way)

    def prepare(self, count: int | None = None) -> None:
        """Have this many ready, or as many as are kept ahead, sooner or later, beside
        those that are waited for."""
        count = self.ahead if count is None else count
        missing = count + len(self._wanted) - len(self._ready) - self._on_the_way
        # Whoever waits gets one, whatever the others keep.
        due = max(0, len(self._wanted) - len(self._ready) - self._on_the_way)
        for _ in range(min(missing, due + self._spares.allow(missing - due))):
            self._start_making()

    def add(self) -> None:
        """Have one more made than are kept ahead, for a crowd."""
        self._start_making()

    def rest(self, most: int = AHEAD_AT_REST) -> None:
        """Keep no more than so many ready; who was not asked for one lately needs no
        more than one."""
        self.give_up(max(0, len(self._ready) - most))

    def put_back(self, berth: Berth) -> None:
        """It is not needed after all."""
        # At once: somebody may need its files.
        berth.close()
        self._own(self._end(berth.cell))

    def keep_none(self) -> None:
        """From now on; whoever waits gets one."""
        self.ahead = 0
        self.rest(0)

    def give_up(self, count: int) -> int:
        """Have so many less ready, if there are so many; how many there were."""
        count = min(count, len(self._ready))
        for _ in range(count):
            self.put_back(self._ready.pop())
        return count

    async def take(self) -> Berth:
        """A cell; the caller owns it. Raises `ZygoteLost` or `StartFailed`."""
        if self._closed_because is not None:
            raise ZygoteLost(self._closed_because)
        if self._ready:
            self._refill_soon()
            return self._ready.popleft()
        future: asyncio.Future[Berth] = asyncio.get_running_loop().create_future()
        self._wanted.append(future)
        self.prepare(count=0)
        try:
            berth = await future
        except asyncio.CancelledError:
            if future in self._wanted:
                self._wanted.remove(future)
            elif not future.cancelled() and future.exception() is None:
                self._give(future.result())
            raise
        # Who had to wait, as the first does after a zygote was replaced, should be
        # the last who has to.
        self._refill_soon()
        return berth

    def close(self, because: str) -> None:
        """The zygote is gone, and all its cells with it."""
        self._closed_because = because
        self._spares.remove(self)
        if self._refill is not None:
            self._refill.cancel()
        while self._ready:
            self._ready.popleft().close()
        while (wanted := self._next_wanted()) is not None:
            wanted.set_exception(ZygoteLost(because))

    def _refill_soon(self) -> None:
        if self._refill is None and self._closed_because is None:
            self._refill = asyncio.get_running_loop().call_later(
                REFILL_S, self._refill_now
            )

    def _refill_now(self) -> None:
        self._refill = None
        if self._closed_because is None:
            self.prepare()

    def _start_making(self) -> None:
        self._on_the_way += 1
        self._own(self._bring())

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._makers.add(task)
        task.add_done_callback(self._makers.discard)

    async def _end(self, cell: int) -> None:
        # Where its jail or the launcher is gone, so is the cell.
        async with self._ending:
            with contextlib.suppress(SandboxError):
                await self._drop(cell)

    async def _bring(self) -> None:
        try:
            berth = await self._make()
        except SandboxError as error:
            self.failed += 1
            self._on_the_way -= 1
            if (wanted := self._next_wanted()) is not None:
                wanted.set_exception(error)
                self._spares.note_failure()
            return
        # Before the cell is given away, or a newcomer would count on it as well.
        self._on_the_way -= 1
        self.each = berth.open_files
        self._give(berth)

    def _give(self, berth: Berth) -> None:
        if self._closed_because is not None:
            berth.close()
        elif not (self.ahead or self._wanted):
            self.put_back(berth)
        elif (wanted := self._next_wanted()) is not None:
            wanted.set_result(berth)
        else:
            self._ready.append(berth)

    def _next_wanted(self) -> asyncio.Future[Berth] | None:
        while self._wanted:
            future = self._wanted.popleft()
            # Cancelled a moment ago, and its task has not run since.
            if not future.done():
                return future
        return None
