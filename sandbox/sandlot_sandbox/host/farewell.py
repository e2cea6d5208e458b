"""How an instance with extensions ends: the program first, then they are told, and have
until AWS's deadline. Whatever they do with it, all of it is killed then."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from sandlot_sandbox.host.extensions_api import Shutdown
from sandlot_sandbox.host.wire import Wire

RUNTIME_SHARE = 0.3
"""Of the time that there is, the program's part."""


class Farewell:
    """What one instance is told at its end, once. `terminate` asks its first process to
    end."""

    # Every instance has one, and few ever say it.
    __slots__ = ("_has_runtime_ended", "_is_over", "_news", "_terminate", "_wire")

    def __init__(self, wire: Wire, *, terminate: Callable[[], None]) -> None:
        self._wire = wire
        self._terminate = terminate
        self._has_runtime_ended = self._is_over = False
        self._news: asyncio.Event | None = None

    @property
    def is_due(self) -> bool:
        """Whether there is anybody to whom it has to be said."""
        return self._wire.shutdown_s > 0 and not self._is_over

    def note_runtime_ended(self) -> None:
        """The program is gone."""
        self._has_runtime_ended = True
        self._tell()

    def cut_short(self) -> None:
        """All of it is gone, or may not run on."""
        self._has_runtime_ended = self._is_over = True
        self._tell()

    async def say(self, reason: Shutdown) -> None:
        """Return when all of it has ended, or its time is over."""
        limit_s = self._wire.shutdown_s
        deadline = asyncio.get_running_loop().time() + limit_s
        deadline_ms = int((time.time() + limit_s) * 1000)
        is_gentle = reason is Shutdown.SPINDOWN
        if self._wire.end_runtime(gently=is_gentle):
            share_s = limit_s * RUNTIME_SHARE
            await self._wait(lambda: self._has_runtime_ended, share_s)
            if not self._wire.shut_down(reason, deadline_ms):
                return
        elif is_gentle:
            # None of them may ask for the event; but what they listen to comes first.
            self._wire.shut_down(reason, deadline_ms)
            self._terminate()
        else:
            return
        left_s = deadline - asyncio.get_running_loop().time()
        await self._wait(lambda: self._is_over, left_s)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    async def _wait(self, is_so: Callable[[], bool], limit_s: float) -> None:
        self._news = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not is_so():
                    self._news.clear()
                    await self._news.wait()
