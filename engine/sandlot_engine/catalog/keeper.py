"""An owner for what must not end with the call that began it."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Keeper:
    """Keeps tasks. Leaving its block cancels what runs aside and awaits the rest."""

    def __init__(self) -> None:
        self._whole: set[asyncio.Task[Any]] = set()
        self._aside: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Again, because what is finished here may begin something else.
        while self._whole or self._aside:
            for task in self._aside:
                task.cancel()
            await asyncio.gather(*self._whole, *self._aside, return_exceptions=True)

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, even if the caller is cancelled half-way."""
        task = self._keep(work, self._whole)
        # Looked at, so that asyncio does not complain about an error whose caller
        # was cancelled.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(task)

    def aside(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `work` beside the caller; what it raises is logged."""
        task = self._keep(work, self._aside)
        task.add_done_callback(_log_failure)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, even if the caller is cancelled half-way; but only as
        long as we are there, since it may take long."""
        return await asyncio.shield(self.aside(work))

    def _keep(
        self, work: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]]
    ) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("work beside a call failed", exc_info=error)
