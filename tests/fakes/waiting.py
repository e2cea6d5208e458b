"""Waiting for what announces itself nowhere, with a deadline and without sleeping."""

import asyncio
from collections.abc import Awaitable, Callable

DEADLINE_S = 10.0


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Let everything else run until `is_so()`; `TimeoutError` if it never is."""
    async with asyncio.timeout(DEADLINE_S):
        while not await is_so():  # noqa: ASYNC110 -- nobody sets an event
            await asyncio.sleep(0)
