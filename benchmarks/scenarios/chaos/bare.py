"""What the disk can do: the same rows, the same number of senders, and nothing else.

One thread with one connection inserts what waits and commits it with an fsync, as fast
as it goes.
"""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue

from benchmarks.stats import Series

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE events (position INTEGER PRIMARY KEY, request_id TEXT, body BLOB);
"""
_MAX_BATCH = 256


async def commit_in_groups(
    folder: Path, *, at_once: int, seconds: float, payload: bytes
) -> tuple[Series, float]:
    """How long rows took until they were on disk, and rows a second."""
    series = Series(label="bare group commit")
    jobs: SimpleQueue[Future[None] | None] = SimpleQueue()
    writer = threading.Thread(
        target=_write, args=(folder / "bare.db", jobs, payload), daemon=True
    )
    writer.start()
    until = time.monotonic() + seconds

    async def send() -> None:
        while time.monotonic() < until:
            done: Future[None] = Future()
            began = time.perf_counter()
            jobs.put(done)
            await asyncio.wrap_future(done)
            series.add(time.perf_counter() - began)

    async with asyncio.TaskGroup() as senders:
        for _ in range(at_once):
            senders.create_task(send())
    jobs.put(None)
    await asyncio.to_thread(writer.join)
    return series, len(series.samples_s) / seconds


def _write(
    path: Path, jobs: "SimpleQueue[Future[None] | None]", payload: bytes
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_SCHEMA)
        while (job := jobs.get()) is not None:
            batch = [job]
            while len(batch) < _MAX_BATCH:
                try:
                    more = jobs.get_nowait()
                except Empty:
                    break
                if more is None:
                    jobs.put(None)
                    break
                batch.append(more)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO events (request_id, body) VALUES (?, ?)",
                [(str(id(each)), payload) for each in batch],
            )
            connection.execute("COMMIT")
            for each in batch:
                each.set_result(None)
