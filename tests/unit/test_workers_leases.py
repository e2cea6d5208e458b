"""What a worker has borrowed, and how it ends."""

import asyncio
from typing import Any, cast

from sandlot_engine.workers import messages
from sandlot_engine.workers.leases import Leases

NOTHING = cast(Any, None)


async def test_who_stopped_waiting_for_a_death_hears_of_it_when_it_comes() -> None:
    told: list[object] = []
    leases = Leases(
        NOTHING,
        marks=NOTHING,
        ledger=NOTHING,
        tell=told.append,
        clock=NOTHING,
        region="",
        fail=lambda _: None,
    )
    waiting = asyncio.create_task(leases._kill(1, leaves_tmp=False))  # noqa: SLF001
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    again = asyncio.create_task(leases._kill(1, leaves_tmp=False))  # noqa: SLF001
    await asyncio.sleep(0)
    leases.hear(messages.Killed(1, "memory"))

    assert await again == "memory"
    assert told == [messages.Kill(1, leaves_tmp=False)]
