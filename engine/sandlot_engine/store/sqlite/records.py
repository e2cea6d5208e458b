"""The ledger, the records and the logs, written behind the replies.

`append` only puts things in a buffer. One task, the recorder, writes the buffer
out, every `FLUSH_INTERVAL_S` or as soon as `MAX_BATCH` records wait. Only that task
writes, so that a caller who is cancelled in `flush` or `bill` cannot have a batch
written twice, and billed twice.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandlot_engine.clock import Clock, SystemClock
from sandlot_engine.errors import InvalidParameter, SandlotError, Troubled
from sandlot_engine.model.invocation import (
    BillLine,
    LogLine,
    LogSource,
    Record,
    Report,
    Status,
)
from sandlot_engine.store.buffer import Batch, RecordBuffer
from sandlot_engine.store.followers import Followers
from sandlot_engine.store.sqlite.aging import Aging
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.logs import LogBounds, LogWriter
from sandlot_engine.store.sqlite.rows import insert
from sandlot_engine.store.sqlite.times import from_us, to_us

FLUSH_INTERVAL_S = 0.2
"""How old an appended record gets before it is written."""

MAX_BATCH = 1_000
"""Records that are written at once, without waiting for the interval."""

PLACE_INTERVAL_S = 2.0
"""How often it is looked where nothing is written whether the database is in its place.
"""

_RECORD = (
    "tenant_id, function, version, request_id, time, status, error_type,"
    " duration_ms, init_ms, wait_ms, billed_ms, memory_mb, max_memory_used_mb"
)

_HOUR_US = 3_600_000_000

_BILL = """
SELECT function, sum(invocations), sum(billed_ms), sum(billed_mb_ms) FROM (
    SELECT function, invocations, billed_ms, billed_mb_ms FROM bills
        WHERE tenant_id = ?1 AND hour >= ?2 AND hour < ?3
    UNION ALL SELECT function, 1, billed_ms, billed_mb_ms FROM records
        WHERE tenant_id = ?1 AND time >= ?4 AND time < ?5
    UNION ALL SELECT function, -1, -billed_ms, -billed_mb_ms FROM records
        WHERE tenant_id = ?1 AND time >= ?6 AND time < ?7
) GROUP BY function HAVING sum(invocations) > 0 ORDER BY function
"""
"""Whole hours, and what is before them; without what is after it in the last one."""

_KEPT = """
SELECT (SELECT coalesce(sum(invocations), 0) FROM bills
            WHERE tenant_id = ?1 AND hour = ?2),
       (SELECT count(*) FROM records
            WHERE tenant_id = ?1 AND time >= ?3 AND time < ?4)
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCounters:
    """For metrics."""

    records_behind: int
    """Appended and not on disk."""

    log_lines_dropped: int
    """Never written, because writing fell behind."""

    log_lines_deleted: int
    """Deleted again, oldest first, because of the bounds on what is kept."""


class SqliteRecords:
    """`RecordStore` over the database; inside `recording()` it writes."""

    def __init__(
        self,
        database: Database,
        *,
        bounds: LogBounds | None = None,
        keep_records_s: float = 0,
        clock: Clock | None = None,
    ) -> None:
        """Records older than `keep_records_s` are deleted, some with each write; 0
        keeps all. What was billed stays in the sums."""
        self._database = database
        self._keeps_all = not keep_records_s
        self._aging = Aging(keep_records_s, clock or SystemClock())
        self._log_writer = LogWriter(bounds or LogBounds())
        self._followers = Followers()
        self._buffer = RecordBuffer()
        self._is_closing = False
        self._why_failing = ""
        """The last attempt to write did; empty where it did not."""

        self.on_failing: Callable[[], None] = lambda: None
        """Called when writing has begun to fail."""

        self._something = asyncio.Event()
        """There is something to write, or somebody waits for that."""
        self._hurry = asyncio.Event()
        """Write now; do not wait for the interval."""
        self._flushing: list[asyncio.Future[None]] = []

    @property
    def counters(self) -> RecordCounters:
        return RecordCounters(
            records_behind=self._buffer.behind,
            log_lines_dropped=self._buffer.lines_dropped,
            log_lines_deleted=self._log_writer.lines_deleted,
        )

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Write what is appended; leaving writes all of it, or raises `Fault`."""
        recorder = asyncio.create_task(self._record(), name="recorder")
        try:
            yield
        finally:
            self._is_closing = True
            self._something.set()
            self._hurry.set()
            await recorder

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        self._buffer.append(record, log)
        self._something.set()
        if self._buffer.behind == MAX_BATCH:
            self._hurry.set()

    @property
    def trouble(self) -> str:
        """Why nothing is run now; empty while records can be written."""
        if not self._why_failing:
            return ""
        return (
            "the engine cannot write records just now, and runs nothing that it"
            f" could not bill: {self._why_failing}"
        )

    def check_writing(self) -> None:
        if trouble := self.trouble:
            raise Troubled(trouble)

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        self._buffer.append_log((tenant_id, function), log)
        self._something.set()

    async def flush(self) -> None:
        done = asyncio.get_running_loop().create_future()
        self._flushing.append(done)
        self._something.set()
        self._hurry.set()
        await done

    async def list_records(
        self, tenant_id: str, function: str, *, before: int, limit: int
    ) -> list[tuple[int, Record]]:
        clauses, values = ["tenant_id = ?"], list[str]()
        if function:
            clauses.append("function = ?")
            values.append(function)
        below = [before] if before else []
        if below:
            clauses.append("position < ?")
        sql = (
            f"SELECT {_RECORD}, position FROM records"  # noqa: S608 -- constants
            f" WHERE {' AND '.join(clauses)} ORDER BY position DESC LIMIT ?"
        )
        rows = await self._select_records(sql, tenant_id, *values, *below, limit)
        return [(row[-1], _from_row(row)) for row in rows]

    async def list_log(
        self,
        tenant_id: str,
        function: str,
        *,
        since: datetime | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LogLine]]:
        rows = await self._select_records(
            "SELECT position, time, request_id, source, text FROM log"
            " WHERE tenant_id = ? AND function = ? AND position > ? AND time >= ?"
            " ORDER BY position LIMIT ?",
            tenant_id,
            function,
            after,
            0 if since is None else to_us(since),
            limit,
        )
        return [(row[0], _line_from_row(row[1:])) for row in rows]

    async def wait_for_log(self, tenant_id: str, function: str, *, after: int) -> None:
        # Follow before looking, or a line written in between would be missed.
        with self._followers.following((tenant_id, function)) as written:
            rows = await self._select_records(
                "SELECT 1 FROM log WHERE tenant_id = ? AND function = ?"
                " AND position > ? LIMIT 1",
                tenant_id,
                function,
                after,
            )
            if not rows:
                await written.wait()

    async def bill(
        self, tenant_id: str, *, since: datetime, until: datetime
    ) -> list[BillLine]:
        await self.flush()
        parts = _parts_of_bill(to_us(since), to_us(until))
        if not self._keeps_all:
            await self._check_kept(tenant_id, to_us(since), to_us(until))
        rows = await self._select_records(_BILL, tenant_id, *parts)
        return [
            BillLine(
                function=function,
                invocations=invocations,
                billed_ms=billed_ms,
                billed_mb_ms=billed_mb_ms,
            )
            for function, invocations, billed_ms, billed_mb_ms in rows
        ]

    async def _check_kept(self, tenant_id: str, *moments: int) -> None:
        """Raise `InvalidParameter` where a bill would begin or end in the midst of an
        hour whose records are not all there."""
        for moment in moments:
            hour, rest = divmod(moment, _HOUR_US)
            if not rest:
                continue
            ((billed, kept),) = await self._select_records(
                _KEPT, tenant_id, hour, hour * _HOUR_US, (hour + 1) * _HOUR_US
            )
            if billed != kept:
                raise InvalidParameter(
                    f"The records around {from_us(moment):%Y-%m-%dT%H:%M:%SZ} are not"
                    " kept any more, only what was billed in each hour: let the time"
                    " begin and end with a full hour, UTC.",
                    field="since",
                )

    async def _select_records(
        self, sql: str, tenant_id: str, *values: object
    ) -> list[Any]:
        return await self._database.read_for(
            tenant_id,
            lambda connection: connection.execute(sql, (tenant_id, *values)).fetchall(),
        )

    async def _record(self) -> None:
        while not self._is_closing or self._buffer or self._flushing:
            with suppress(TimeoutError):
                async with asyncio.timeout(PLACE_INTERVAL_S):
                    await self._something.wait()
            if self._something.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_INTERVAL_S):
                        await self._hurry.wait()
            self._hurry.clear()
            await self._write_out()

    async def _write_out(self) -> None:
        """Write what is buffered, and tell those who wait for exactly that."""
        batch, flushing = self._buffer.take(), self._flushing
        self._flushing = []
        if not self._is_closing:
            self._something.clear()
        try:
            if batch:
                await self._database.write(
                    lambda connection: self._write(connection, batch),
                    durable=False,
                )
            elif not self._is_closing:
                await self._database.check_place()
        except SandlotError as error:
            self._keep_for_later(batch, error)
            _settle(flushing, error)
            if self._is_closing:
                raise
        else:
            self._why_failing = ""
            self._followers.wake({owner for owner, _ in batch.lines})
            _settle(flushing, None)

    def _write(self, connection: sqlite3.Connection, batch: Batch) -> None:
        insert_records(connection, batch.records)
        self._log_writer.write(connection, batch.lines)
        if batch.records:
            newest = max(to_us(record.time) for record in batch.records)
            self._aging.delete(connection, newest, len(batch.records))

    def _keep_for_later(self, batch: Batch, error: SandlotError) -> None:
        self._buffer.put_back(batch)
        if self._buffer:
            self._something.set()
        was_failing, self._why_failing = bool(self._why_failing), error.message
        if not was_failing or self._is_closing:
            _log.error(
                "%srecords could not be written%s: %s",
                # There may be none yet, or none of the log that waits.
                f"{self._buffer.behind} " if self._buffer.behind else "",
                ", and are lost" if self._is_closing else "",
                error.message,
            )
        if not was_failing:
            self.on_failing()


def _parts_of_bill(since: int, until: int) -> tuple[int, int, int, int, int, int]:
    """For `_BILL`: hours, records that are added, records that are taken away.

    Until now is the rule, and after it there are none.
    """
    first, end = -(-since // _HOUR_US), -(-until // _HOUR_US)
    if first >= end:
        return 0, 0, since, until, 0, 0
    return first, end, since, first * _HOUR_US, until, end * _HOUR_US


def _settle(flushing: list["asyncio.Future[None]"], error: SandlotError | None) -> None:
    for done in flushing:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def insert_records(connection: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Within a transaction of somebody else's, who has more to keep with them."""
    insert(connection, f"records ({_RECORD}, billed_mb_ms)", map(_to_row, records))


def _to_row(record: Record) -> tuple[object, ...]:
    report = record.report
    return (
        record.tenant_id,
        record.function,
        record.version,
        record.request_id,
        to_us(record.time),
        record.status.value,
        record.error_type,
        report.duration_ms,
        report.init_ms,
        report.wait_ms,
        report.billed_ms,
        report.memory_mb,
        report.max_memory_used_mb,
        report.billed_mb_ms,
    )


def _from_row(row: tuple[Any, ...]) -> Record:
    return Record(
        tenant_id=row[0],
        function=row[1],
        version=row[2],
        request_id=row[3],
        time=from_us(row[4]),
        status=Status(row[5]),
        error_type=row[6],
        report=Report(
            duration_ms=row[7],
            init_ms=row[8],
            wait_ms=row[9],
            billed_ms=row[10],
            memory_mb=row[11],
            max_memory_used_mb=row[12],
        ),
    )


def _line_from_row(row: tuple[int, str, str, bytes]) -> LogLine:
    time, request_id, source, text = row
    return LogLine(
        time=from_us(time), request_id=request_id, source=LogSource(source), text=text
    )
