"""What a signal to stop does, before the engine serves and after."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger("sandlot")


class Stop:
    """SIGTERM: ends the start, if there is one under way, or else the serving; the
    second one, what that still runs."""

    def __init__(self) -> None:
        self.was_asked = False
        self.hurry: Callable[[], object] = lambda: None
        """Has what runs cut short."""

        self._starting = asyncio.current_task()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        if self._starting is not None and not self.was_asked:
            self._starting.cancel()
        elif self._starting is None and self.was_asked:
            log.info("asked again to stop: calls that run are cut short")
            self.hurry()
        self.was_asked = True
        self._asked.set()

    async def wait(self) -> None:
        self._starting = None
        await self._asked.wait()
