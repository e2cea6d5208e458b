"""Has a queue delete what is done with, and give to others what is not begun."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from sandlot_engine.polling.pace import pause_after
from sandlot_engine.polling.ports import Telling
from sandlot_engine.polling.queues import MAX_ENTRIES, QueueTrouble
from sandlot_engine.polling.sources import Source

TRIES = 3
"""To delete a message; then it comes again."""

AT_ONCE = 4
"""Requests for one batch; the threads for them are everybody's."""

_log = logging.getLogger(__name__)


class Settling:
    """Settles the messages of one queue. `pause` waits for so many seconds, or until
    there is a hurry."""

    def __init__(
        self,
        source: Source,
        queues: Telling,
        counts: Counter[str],
        *,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._source = source
        self._queues = queues
        self._counts = counts
        self._pause = pause

    async def delete(self, handles: Sequence[str]) -> str:
        """What went wrong; empty where all are deleted."""
        at_once = asyncio.Semaphore(AT_ONCE)

        async def delete(some: Sequence[str]) -> str:
            async with at_once:
                return await self._delete(list(some))

        async with asyncio.TaskGroup() as tasks:
            told = [tasks.create_task(delete(some)) for some in _parts(handles)]
        return next((why for each in told if (why := each.result())), "")

    async def release(self, handles: Sequence[str]) -> None:
        """Let whoever asks next have them; if that fails, they come a little later."""
        self._counts["given_back"] += len(handles)
        for some in _parts(handles):
            try:
                await self._queues.release(self._source, some)
            except QueueTrouble as error:
                _log.info("messages could not be given back: %s", error)
                return

    async def _delete(self, handles: list[str]) -> str:
        left, why = handles, ""
        for attempt in range(1, TRIES + 1):
            try:
                left = await self._queues.delete(self._source, left)
                why = "the queue has kept some"
            except QueueTrouble as error:
                why = str(error)
            if not left:
                break
            if attempt < TRIES:
                await self._pause(pause_after(attempt))
        self._counts["deleted"] += len(handles) - len(left)
        self._counts["not_deleted"] += len(left)
        return f"PROBLEM: messages were not deleted: {why}"[:1_000] if left else ""


def _parts(handles: Sequence[str]) -> list[Sequence[str]]:
    return [
        handles[at : at + MAX_ENTRIES] for at in range(0, len(handles), MAX_ENTRIES)
    ]
