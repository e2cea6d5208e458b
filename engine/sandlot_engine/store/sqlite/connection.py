"""The database file: one thread writes, a few read, the event loop never waits.

SQLite lets one connection write at a time, so ours is one thread with one
connection. What piles up while it commits shares the next commit: under load
many changes pay for one fsync.
"""

import asyncio
import errno
import logging
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

from sandlot_engine.errors import Internal, SandlotError, Troubled
from sandlot_engine.locks import KeyedLocks
from sandlot_engine.store.sqlite.migrations import migrate
from sandlot_engine.store.sqlite.place import Place
from sandlot_engine.threads import started
from sandlot_engine.troubles import LastingTrouble

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

READERS = 2
"""Threads, each with a connection, that answer queries; and as many for `read_for`."""

MAX_JOBS_PER_COMMIT = 256
"""Changes that may share one transaction."""

BUSY_TIMEOUT_S = 5.0
"""For a lock that somebody else's `sqlite3` shell may hold."""

_PRIMARY = 0xFF
"""What of an extended code of SQLite's is the code."""

MAX_WAL_BYTES = 64 * 2**20
"""What a checkpoint leaves of the write-ahead log."""

_log = logging.getLogger(__name__)


class Database:
    """Runs work on the file, off the event loop. `open` makes one."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._place = Place(path)
        self._writer = _Writer(connection, self._place)
        self._readers = _Readers(path, self._place)
        self._slow_readers = _Readers(path, self._place)
        self._turns = KeyedLocks()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Open or make the file, with the newest schema."""
        connection = await asyncio.to_thread(_guarded, lambda: _prepare(path))
        database = cls(path, connection)
        try:
            yield database
        finally:
            await asyncio.to_thread(database._close)

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run `work` in a transaction and return once it is committed.

        `durable` survives a power cut, otherwise only `kill -9`. Work that raises
        one of our errors must have changed nothing before, and work may be run
        twice, its first run rolled back.
        """
        job = _Job(work=work, durable=durable)
        self._writer.jobs.put(job)
        result: T = await asyncio.wrap_future(job.done)
        return result

    async def read(self, work: Work[T]) -> T:
        """Run a query. It sees every write that has returned."""
        return await asyncio.get_running_loop().run_in_executor(
            self._readers.pool, self._readers.run, work
        )

    async def forget(self) -> None:
        """Have what was deleted before gone from the write-ahead log, too: at once, or
        as soon as nobody reads from there."""
        await self.write(lambda _: self._writer.fold_soon())

    async def check_place(self) -> None:
        """Raise `Troubled` where changes would go into files that have no name."""
        await asyncio.get_running_loop().run_in_executor(
            self._readers.pool, self._place.check
        )

    async def read_for(self, tenant_id: str, work: Work[T]) -> T:
        """The same for what takes the longer the more a tenant has: one at a time, and
        in other threads, so that it keeps nobody else waiting."""
        async with self._turns.hold(tenant_id):
            job = self._slow_readers.pool.submit(self._slow_readers.run, work)
            try:
                return await asyncio.wrap_future(job)
            except asyncio.CancelledError:
                # Its turn is over when the thread is free again, and not before.
                if not job.cancel():
                    await asyncio.wait([asyncio.wrap_future(job)])
                raise

    def _close(self) -> None:
        # The writer last: the last connection to close folds the write-ahead log
        # into the file, and a query-only one may not.
        self._readers.close()
        self._slow_readers.close()
        self._writer.close()


@dataclass(slots=True, kw_only=True)
class _Job:
    work: Work[Any]
    durable: bool
    done: Future[Any] = field(default_factory=Future)


class _Writer:
    """The one thread that changes the file."""

    def __init__(self, connection: sqlite3.Connection, place: Place) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._connection = connection
        self._place = place
        self._trouble = LastingTrouble(_log.error)
        """That nothing can be kept, until something is."""

        self._has_to_fold = False
        """Something that was deleted is in the write-ahead log."""

        self._thread = threading.Thread(
            target=self._run, name="store-writer", daemon=True
        )
        self._thread.start()

    def fold_soon(self) -> None:
        """After the transaction that says so, or where somebody reads, after a later
        one: from the writer's own thread."""
        self._has_to_fold = True

    def close(self) -> None:
        """Do all that was asked before, then stop."""
        self.jobs.put(None)
        self._thread.join()
        try:
            self._place.check()
        except Troubled:
            # SQLite would leave the log beside a file that is another's, where the next
            # start would take it for that one's.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            if batch:
                # One fsync is enough for all, and none of them asked for less.
                self._commit(batch, durable=any(job.durable for job in batch))

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """What is waiting, at least one job, and whether that was the last."""
        batch: list[_Job] = []
        job = self.jobs.get()
        while job is not None:
            if job.done.set_running_or_notify_cancel():
                batch.append(job)
            if len(batch) >= MAX_JOBS_PER_COMMIT:
                return batch, False
            try:
                job = self.jobs.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, jobs: list[_Job], *, durable: bool) -> None:
        try:
            results = self._transact(jobs, durable=durable)
        except Exception as error:  # noqa: BLE001 -- handed to whoever asked
            if len(jobs) > 1 and not _is_locked(error):
                # One job of the batch broke it. Alone, only that one fails.
                for job in jobs:
                    self._commit([job], durable=durable)
                return
            ours = _as_ours(error)
            if isinstance(ours, Troubled):
                self._trouble.tell("a change could not be kept: %s", ours.message)
            for job in jobs:
                job.done.set_exception(ours)
            return
        self._trouble.ended()
        if self._has_to_fold:
            self._fold()
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, SandlotError):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)

    def _transact(self, jobs: list[_Job], *, durable: bool) -> list[Any]:
        self._place.check()
        connection = self._connection
        # In WAL mode NORMAL leaves the fsync to the checkpoint, FULL does one now.
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [_result_or_refusal(job.work, connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _fold(self) -> None:
        """Write what is in the log into the file, and leave none, unless it is read."""
        connection = self._connection
        # Who reads is not waited for: others want to write.
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            was_read, *_ = connection.execute(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            ).fetchone()
            self._has_to_fold = bool(was_read)
        except sqlite3.Error:
            # The disk, say. All is kept in the log, and the next one tries again.
            self._has_to_fold = True
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")


class _Readers:
    """A few threads with a connection each, so that a long query blocks no write."""

    def __init__(self, path: Path, place: Place) -> None:
        self.pool = started(READERS, "store-reader")
        self._path = path
        self._place = place
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []

    def run(self, work: Work[T]) -> T:
        return _guarded(lambda: work(self._connection()))

    def close(self) -> None:
        self.pool.shutdown()
        for connection in self._all:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            # Or it might read, or make, one that is not the writer's.
            self._place.check()
            connection = self._mine.connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
            self._all.append(connection)
        return connection


def _prepare(path: Path) -> sqlite3.Connection:
    # Ours alone: logs and sealed secrets are in there. SQLite gives the mode of
    # the database to its write-ahead log. A backup that was brought back may have any.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with suppress(PermissionError):  # it is another user's, who may let us write
        path.chmod(0o600)
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
        # What is deleted is overwritten: a tenant's code and words are to be gone when
        # it is, and what an older master key opens. Debian's SQLite does so by itself.
        connection.execute("PRAGMA secure_delete = ON")
        migrate(connection)
    except BaseException:
        with closing(connection):
            raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are ours to begin; a thread that is not the maker closes.
    return sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )


def _result_or_refusal(work: Work[Any], connection: sqlite3.Connection) -> Any:
    try:
        return work(connection)
    except SandlotError as refusal:
        return refusal


def _guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except (sqlite3.Error, OSError) as error:
        raise _as_ours(error) from error


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # The second is of the file beside the database that a start makes.
    full = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return getattr(error, "sqlite_errorcode", None) in full


def _is_locked(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    return code == sqlite3.SQLITE_BUSY


def _mend(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            "The database sandlot.db is damaged: bring back a backup, or what can "
            'still be read of it (operations.md, "A damaged database").'
        )
    return (
        "Look for a full disk, a quota that is used up, or a disk that fails, under "
        "the data directory."
    )


def _trouble(error: Exception) -> str:
    """What is in the way of all changes, until somebody mends it; empty for others."""
    if _is_full(error):
        return (
            "The disk that the data directory is on is full, so nothing more can be "
            "kept. Make room there, then try again."
        )
    if _is_locked(error):
        return (
            "Another process has the database locked, a sqlite3 shell or a tool for "
            "backups, so nothing can be kept. End it, then try again."
        )
    return ""


def _as_ours(error: Exception) -> SandlotError:
    if isinstance(error, SandlotError):
        return error
    if why := _trouble(error):
        # The transaction was rolled back: whatever was asked has surely not happened.
        trouble = Troubled(why)
        trouble.__cause__ = error
        return trouble
    # A path would tell a tenant how our disk is laid out.
    what = error.strerror if isinstance(error, OSError) else error
    ours = Internal(
        f"The store failed ({type(error).__name__}: {what}). {_mend(error)}"
    )
    ours.__cause__ = error
    return ours
