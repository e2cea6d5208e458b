"""Following a log: replay what is kept, then wait for more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import datetime

from sandlot_engine.errors import Fault
from sandlot_engine.model.invocation import LogLine
from sandlot_engine.store.ports import RecordStore

PAGE = 200
"""Lines read at once: all that a reader who is slow keeps in memory."""

QUIET_S = 0.2
"""Pause after a wake-up in vain. The store wakes for any line, also for kept ones
from before `since`; without the pause we would spin until a newer one comes."""


async def tail(
    records: RecordStore,
    tenant_id: str,
    function: str,
    *,
    since: datetime | None,
    follow: bool,
) -> AsyncGenerator[list[LogLine], None]:
    """Pages of a function's log from `since` on; without an end if `follow`.

    Reads a page only when the one before was taken.
    """
    await catch_up(records)
    after = 0
    while True:
        page = await records.list_log(
            tenant_id, function, since=since, after=after, limit=PAGE
        )
        if page:
            after = page[-1][0]
            yield [line for _, line in page]
        elif not follow:
            return
        else:
            await records.wait_for_log(tenant_id, function, after=after)
            if after == 0:
                await asyncio.sleep(QUIET_S)


async def catch_up(records: RecordStore) -> None:
    """Have what has happened written, so that whoever reads after an answer finds it.

    A store that cannot write can still be read.
    """
    with suppress(Fault):
        await records.flush()
