"""Cells that have the /tmp of an instance that ended at work, for the next that starts.

AWS Lambda resets what has timed out or crashed: its processes and their memory are
gone, its /tmp is not. Here all of the cell goes but its /tmp and its control group, to
which what lies there stays charged; a new cell is made with both, the heir, and whoever
is forked next out of the same zygote moves in. What is kept is a few, for a while, and
goes first where memory is short.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine

from sandlot_sandbox.errors import SandboxError
from sandlot_sandbox.host.berth import Berth

MAX_HEIRS = 4
"""Of one zygote; of more that end at work nothing is kept."""

MAX_OF_ALL = 16
"""Of all zygotes together, where files are plenty: each is some twenty open ones of
ours."""

_PART = 4
"""Where they are not, one for so many cells that are kept ready."""

KEPT_S = 300.0
"""How long an heir waits for its instance, as long as an idle instance does."""

WAIT_S = 3.0
"""How long a start waits for an heir that is being made: some milliseconds, but where
the machine is swamped."""


class Estate:
    """How many more heirs all zygotes together may have; `spares` is how many cells
    they keep ready."""

    def __init__(self, *, spares: int) -> None:
        self.left = min(MAX_OF_ALL, spares // _PART)


class Heirs:
    """The heirs of one zygote. `make` is given a dead cell's number, and makes its
    heir; `drop` lets go of one whose heir cannot be made; `kill` kills a cell that
    nobody is in."""

    def __init__(
        self,
        make: Callable[[int], Awaitable[Berth]],
        *,
        drop: Callable[[int], None],
        kill: Callable[[int], Awaitable[object]],
        estate: Estate,
    ) -> None:
        self._make = make
        self._drop = drop
        self._kill = kill
        self._estate = estate
        self._ready: deque[Berth] = deque()
        self._expected = 0
        self._news = asyncio.Event()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Heirs {len(self._ready)} ready, {self._expected} expected>"

    @property
    def are_there(self) -> bool:
        """Whether the next start has an heir's cell, or one that is about to be."""
        return bool(self._ready or self._expected)

    @property
    def has_room(self) -> bool:
        mine = len(self._ready) + self._expected
        return not self._is_closed and mine < MAX_HEIRS and self._estate.left > 0

    @property
    def used_kb(self) -> int:
        return sum(berth.hold.used_kb() for berth in self._ready)

    async def end(self, cell: int, kill: Callable[[], Awaitable[str]]) -> str:
        """Kill a cell so that something of it is kept, and have its heir made. Returns
        and raises what `kill` does; who was killed for something leaves nothing."""
        self._expected += 1
        self._estate.left -= 1
        try:
            verdict = await kill()
        except BaseException:
            self._note_none()
            raise
        if verdict or self._is_closed:
            self._drop(cell)
            self._note_none()
        else:
            self._own(self._bring(cell))
        return verdict

    async def take(self) -> Berth | None:
        """An heir's cell, which is the caller's from now on, or None."""
        if not self.are_there:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while self._expected and not self._ready:
                    self._news.clear()
                    await self._news.wait()
        if not self._ready:
            return None
        berth = self._pop()
        if berth.hold.can_freeze and not berth.hold.thaw():
            self._give_up(berth)
            return None
        return berth

    def drop_all(self) -> None:
        """Those that wait for an instance: their memory is needed."""
        while self._ready:
            self._give_up(self._pop())

    def close(self) -> None:
        """The zygote is gone, and all its cells with it."""
        self._is_closed = True
        while self._ready:
            self._pop().close()

    def _pop(self) -> Berth:
        berth = self._ready.popleft()
        self._timers.pop(berth.cell).cancel()
        self._estate.left += 1
        return berth

    async def _bring(self, cell: int) -> None:
        try:
            berth = await self._make(cell)
        except SandboxError:
            self._drop(cell)
            self._note_none()
            return
        if self._is_closed:
            berth.close()
            self._note_none()
            return
        if berth.hold.ran_out() or not _stands_still(berth):
            # In its last moment, which its heir would be blamed for; or it cannot wait.
            self._note_none()
            await self._end(berth)
            return
        self._expected -= 1
        self._ready.append(berth)
        loop = asyncio.get_running_loop()
        self._timers[berth.cell] = loop.call_later(KEPT_S, self._expire, berth)
        self._news.set()

    def _expire(self, berth: Berth) -> None:
        # The oldest: all of them wait as long.
        if self._ready and self._ready[0] is berth:
            self._give_up(self._pop())

    def _give_up(self, berth: Berth) -> None:
        self._own(self._end(berth))

    async def _end(self, berth: Berth) -> None:
        try:
            # Where its jail or the launcher is gone, so is the cell.
            with contextlib.suppress(SandboxError):
                await self._kill(berth.cell)
        finally:
            # After the launcher, who has no time to free what lies in its /tmp.
            berth.close()

    def _note_none(self) -> None:
        self._expected -= 1
        self._estate.left += 1
        self._news.set()

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stands_still(berth: Berth) -> bool:
    """While it waits. Nothing of the tenant's has any business in there; but its group
    is one that the zygote was given before, to join, and may have kept."""
    return berth.hold.freeze() if berth.hold.can_freeze else True
