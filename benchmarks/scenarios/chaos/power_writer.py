"""Puts events into a store, and tells on stdout of each that it is kept; until it is
killed. `power_writer.py FOLDER 1`, or 0 to leave out the fsync."""

import asyncio
import os
import sqlite3
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from sandlot_engine.model.event import Event
from sandlot_engine.store.sqlite import SqliteStore

AT_ONCE = 16
PAYLOAD = b'{"n":"' + b"x" * 500 + b'"}'


async def main(folder: Path, *, has_fsync: bool) -> None:
    if not has_fsync:
        _leave_out_fsync()
    async with SqliteStore.open(folder / "sandlot.db") as store:

        async def put() -> None:
            while True:
                now, request_id = datetime.now(UTC), str(uuid4())
                event = Event(
                    request_id=request_id,
                    tenant_id="1",
                    function="f",
                    size=len(PAYLOAD),
                    accepted=now,
                    due=now,
                )
                await store.put_event(event, PAYLOAD)
                os.write(1, f"{request_id}\n".encode())

        async with asyncio.TaskGroup() as putting:
            for _ in range(AT_ONCE):
                putting.create_task(put())


class _Careless(sqlite3.Connection):
    """Never flushes anything, whatever it is told."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"
        return super().execute(sql, *values)


def _leave_out_fsync() -> None:
    careless = partial(sqlite3.connect, factory=_Careless)
    sqlite3.connect = careless  # type: ignore[assignment]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), has_fsync=sys.argv[2] == "1"))
