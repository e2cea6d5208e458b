"""Until when calls are let in.

What comes in the moment in which a server stops, grpc ends as CANCELLED: its caller
cannot tell whether it was done. So before that everybody is turned away with a word,
until nobody comes any more. Who was, does not come again at once.
"""

import asyncio
from contextlib import suppress

from sandlot_engine.errors import Stopping

QUIET_S = 0.1
"""When nobody has come for so long, nobody is on the way."""

MOST_S = 1.0
"""And this is how long a stop waits for that, where somebody comes again and again."""


class Door:
    """Of a server: open until it is closed."""

    def __init__(self) -> None:
        self._is_closed = False
        self._has_come = asyncio.Event()

    def check(self) -> None:
        """Somebody comes. Raises `Stopping` once it is closed."""
        if self._is_closed:
            self._has_come.set()
            raise Stopping("the engine is stopping, and did nothing; send it again")

    async def close(self, *, quiet_s: float = QUIET_S) -> None:
        """Let nobody in, and return when nobody has come for `quiet_s`. What is in
        goes on."""
        self._is_closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(MOST_S):
                while await self._comes_within(quiet_s):
                    self._has_come.clear()

    async def _comes_within(self, quiet_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(quiet_s):
                await self._has_come.wait()
        return self._has_come.is_set()
