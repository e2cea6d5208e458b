"""The embedded store: one SQLite file for functions, tenants, events, records, logs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from sandlot_engine.clock import Clock
from sandlot_engine.store.sqlite.answers import SqliteAnswers
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.deliveries import SqliteDeliveries
from sandlot_engine.store.sqlite.documents import SqliteDocuments
from sandlot_engine.store.sqlite.events import SqliteEvents
from sandlot_engine.store.sqlite.functions import SqliteFunctions
from sandlot_engine.store.sqlite.logs import LogBounds
from sandlot_engine.store.sqlite.records import RecordCounters, SqliteRecords
from sandlot_engine.store.sqlite.secrets import SqliteSecrets
from sandlot_engine.store.sqlite.tenants import SqliteTenants

__all__ = ["LogBounds", "RecordCounters", "SqliteStore"]


class SqliteStore(
    SqliteFunctions,
    SqliteDocuments,
    SqliteTenants,
    SqliteEvents,
    SqliteDeliveries,
    SqliteRecords,
    SqliteAnswers,
    SqliteSecrets,
):
    """All ports over one file. Two processes must not open the same one."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        bounds: LogBounds | None = None,
        keep_records_s: float = 0,
        clock: Clock | None = None,
    ) -> AsyncIterator[Self]:
        """Open or make the file at `path`; leaving writes out all that was appended.

        Raises `Refusal` where the file was written by a newer Sandlot, `Internal`
        where it cannot be opened or is not a database.
        """
        async with Database.open(path) as database:
            store = cls(
                database, bounds=bounds, keep_records_s=keep_records_s, clock=clock
            )
            async with store.recording():
                yield store
