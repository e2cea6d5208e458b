"""How an instance with extensions ends: the program first, then they are told, and have
until AWS's deadline. Whatever they do with it, all of it is killed then."""

import asyncio
import time
from collections.abc import Callable

from sandlot_sandbox.host.extensions_api import Shutdown
from sandlot_sandbox.host.wire import Wire

RUNTIME_SHARE = 0.3
"""Of the time that there is, the program's part."""


class Farewell:
    """Of one instance, said once. `terminate` asks its first process to end."""

    def __init__(self, wire: Wire, *, terminate: Callable[[], None]) -> None:
        self._wire = wire
        self._terminate = terminate
        self._runtime_ended = asyncio.Event()
        self._is_over = asyncio.Event()

    @property
    def is_due(self) -> bool:
        """Whether there is anybody to whom it has to be said."""
        return self._wire.shutdown_s > 0 and not self._is_over.is_set()

    def note_runtime_ended(self) -> None:
        """The program is gone."""
        self._runtime_ended.set()

    def cut_short(self) -> None:
        """All of it is gone, or may not run on."""
        self._runtime_ended.set()
        self._is_over.set()

    async def say(self, reason: Shutdown) -> None:
        """Return when all of it has ended, or its time is over."""
        limit_s = self._wire.shutdown_s
        deadline = asyncio.get_running_loop().time() + limit_s
        deadline_ms = int((time.time() + limit_s) * 1000)
        is_gentle = reason is Shutdown.SPINDOWN
        if self._wire.end_runtime(gently=is_gentle):
            await _wait(self._runtime_ended, limit_s * RUNTIME_SHARE)
            if not self._wire.shut_down(reason, deadline_ms):
                return
        elif is_gentle:
            self._terminate()
        else:
            return
        left_s = deadline - asyncio.get_running_loop().time()
        await _wait(self._is_over, left_s)


async def _wait(event: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
