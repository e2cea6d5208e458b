"""Does what lanes decide, and waits where they have nothing to do."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from sandlot_engine.errors import SandlotError
from sandlot_engine.events.lanes import MAX_WINDOW, Fetch, Head, Key, Lanes, Start
from sandlot_engine.events.steady import SteadyTime
from sandlot_engine.store.event_ports import Waiting

LONGEST_WAIT_S = 10.0
"""The clock is looked at this often, as it may have been set."""

_log = logging.getLogger(__name__)

FetchFrom = Callable[[Key, int], Awaitable[Sequence[Waiting]]]
"""Read the first of a lane, so many at most."""

StartAll = Callable[[Sequence[Start]], Coroutine[Any, Any, None]]
"""Do them; each ends in a fact for the lanes, whatever happens."""


class Pump:
    """One task that asks the lanes, and others that do what they say.

    `tick` is called whenever it is looked, and at least every `LONGEST_WAIT_S`.
    `longest_s` is the furthest from now that anything is due; what seems to be later
    was kept by a clock that was wrong.
    """

    def __init__(
        self,
        lanes: Lanes,
        time: SteadyTime,
        *,
        fetch: FetchFrom,
        start: StartAll,
        tick: Callable[[], Awaitable[None]],
        longest_s: float,
    ) -> None:
        self._lanes = lanes
        self._time = time
        self._fetch = fetch
        self._start = start
        self._tick = tick
        self._longest_s = longest_s
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return self._time.now().timestamp()

    def wake(self) -> None:
        """The lanes were told something, or the time is another."""
        self._woken.set()

    def spawn(
        self, work: Coroutine[Any, Any, None], *, has_caller: bool = False
    ) -> asyncio.Task[None]:
        """Do it beside; `running` waits for it. Its failure is its caller's, if it has
        one, who may have gone; or else it is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._had_caller if has_caller else self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if (error := self._had_caller(task)) is not None:
            _log.error("an event's task failed", exc_info=error)

    def _had_caller(self, task: asyncio.Task[None]) -> BaseException | None:
        self._tasks.discard(task)
        return None if task.cancelled() else task.exception()

    @asynccontextmanager
    async def running(self, *, drain_s: float) -> AsyncIterator[None]:
        """Pump inside. Leaving starts nothing more, lets what runs end for `drain_s`,
        then cancels it."""
        pump = asyncio.create_task(self._pump())
        try:
            yield
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    while self._tasks:
                        await asyncio.wait(self._tasks)
            left = list(self._tasks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _pump(self) -> None:
        while True:
            self._woken.clear()
            await self._tick()
            while decisions := self._lanes.next(self.now()):
                starts = [each for each in decisions if isinstance(each, Start)]
                if starts:
                    self.spawn(self._start(starts))
                for each in decisions:
                    if isinstance(each, Fetch):
                        self.spawn(self._read(each.key))
            wait_s = min(self._lanes.wake_at() - self.now(), LONGEST_WAIT_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(wait_s, 0.0)):
                    await self._woken.wait()

    async def _read(self, key: Key) -> None:
        try:
            found = await self._fetch(key, MAX_WINDOW)
        except SandlotError as error:
            _log.error("events could not be read: %s", error.message)
            self._lanes.fetch_failed(key, self.now())
        else:
            latest = self._time.now() + timedelta(seconds=self._longest_s)
            heads = sorted(_head(each, latest) for each in found)
            self._lanes.fetched(key, heads, is_all=len(found) < MAX_WINDOW)
        self.wake()


def _head(waiting: Waiting, latest: datetime) -> Head:
    due = min(waiting.due, latest).timestamp()
    return Head(due, waiting.position, waiting.size)
