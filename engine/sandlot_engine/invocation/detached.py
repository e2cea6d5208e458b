"""Work that goes on although whoever asked for it is gone."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from sandlot_engine.clock import Clock
from sandlot_engine.errors import DeadlineExceeded, Stopping

T = TypeVar("T")


class Detached:
    """Tasks of their own, which any number of callers may wait for.

    An async context manager. Leaving it starts nothing new, lets what runs finish for
    `drain_s`, then cancels the rest.
    """

    def __init__(self, clock: Clock, *, drain_s: float) -> None:
        self._clock = clock
        self._drain_s = drain_s
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Detached {len(self._tasks)} running>"

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_s)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin it. Raises `Stopping` while the engine stops."""
        if not self._is_open:
            work.close()
            raise Stopping("the engine is stopping; send it again later")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self, task: "asyncio.Task[T]", deadline: float | None) -> T:
        """What came of it. Raises what it raised, and `DeadlineExceeded` when
        `deadline` (of the clock's `monotonic`) passes first: then it goes on."""
        left_s = None if deadline is None else deadline - self._clock.monotonic()
        timer = asyncio.timeout(left_s)
        try:
            async with timer:
                return await asyncio.shield(task)
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise DeadlineExceeded(
                "the caller's deadline passed before there was an answer; the function "
                "was not stopped"
            ) from error

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Perhaps nobody waits any more, and that is no mistake.
            task.exception()
