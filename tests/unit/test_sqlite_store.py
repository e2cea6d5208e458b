"""What the SQLite adapter does beyond the contract: crashes, bounds, batches."""

import asyncio
import json
import os
import signal
import sqlite3
import stat
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.errors import AlreadyExists, Internal, Refusal, Unavailable
from sandlot_engine.gateway.tail import tail
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import DEFAULT_TENANT_ID
from sandlot_engine.store.sqlite import LogBounds, SqliteStore
from sandlot_engine.store.sqlite import connection as connection_module
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.migrations import schema_steps
from tests.fakes.things import NOON, function, line, record

DEADLINE_S = 30

_INSERT_TENANT = (
    "INSERT INTO tenants (id, name, concurrency, created) VALUES (?, 'acme', 1, 0)"
)

_BODY_OF_SCHEMA_1: dict[str, Any] = {
    "tenant_id": "1",
    "name": "resize",
    "serving": {
        "id": "rev-1",
        "code": {"sha256": "aa", "size": 10, "unpacked_size": 20},
        "config": {
            "handler": "app.handler",
            "runtime": "python3.11",
            "memory_mb": 128,
            "timeout_s": 3,
            "environment": {"LANG": "ü"},
            "ephemeral_storage_mb": 512,
            "description": "",
            "init_mode": "auto",
        },
    },
    "pending": None,
    "state": "Active",
    "state_reason": "",
    "update_status": "",
    "update_reason": "",
    "fork_safe": True,
    "fork_safety_reason": "",
    "last_modified": "2025-06-01T12:00:00.123456+00:00",
}
"""`function()`, as an engine of that time wrote it."""

APPEND_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from sandlot_engine.store.sqlite import SqliteStore
from tests.fakes.things import function, line, record

async def main():
    async with SqliteStore.open(Path(sys.argv[1])) as store:
        await store.create_function(function())
        for number in range(500):
            store.append(record(f"flushed-{number}"), [line(b"flushed")])
        await store.flush()
        store.append(record("behind"), [])
        print("flushed", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", APPEND_UNTIL_KILLED, path),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_S):
        assert child.stdout is not None
        assert await child.stdout.readline() == b"flushed\n"
        child.send_signal(signal.SIGKILL)
        await child.communicate()

    async with SqliteStore.open(path) as store:
        records = await store.list_records("1", "resize", before=0, limit=1_000)
        lines = await store.list_log("1", "resize", since=None, after=0, limit=1_000)
        kept = await store.get_function("1", "resize")

    flushed = [each for _, each in records if each.request_id != "behind"]
    assert len(flushed) == 500
    assert len(lines) == 500
    assert kept == function()


async def test_closing_writes_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        store.append(record(), [line(b"last words")])

    async with SqliteStore.open(path) as store:
        assert await store.list_records("1", "resize", before=0, limit=9)
        assert await store.list_log("1", "resize", since=None, after=0, limit=9)


async def test_what_is_appended_is_written_without_a_flush(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        store.append(record(), [line(b"hello")])

        async with asyncio.timeout(DEADLINE_S):
            await store.wait_for_log("1", "resize", after=0)

        assert store.counters.records_behind == 0


async def test_a_cancelled_bill_does_not_write_records_twice(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        store.append(record(), [])
        bill = asyncio.create_task(store.bill("1", since=NOON, until=NOON))
        await asyncio.sleep(0)
        bill.cancel()
        await asyncio.wait({bill})
        await store.flush()

        assert len(await store.list_records("1", "resize", before=0, limit=9)) == 1


async def test_others_cannot_read_the_database(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        await store.create_function(function())
        modes = [_mode(tmp_path / name) for name in ("engine.db", "engine.db-wal")]

    assert modes == [0o600, 0o600]


async def test_nor_can_they_one_that_came_from_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path):
        path.chmod(0o644)

    async with SqliteStore.open(path) as store:
        await store.create_function(function())
        modes = [_mode(tmp_path / name) for name in ("engine.db", "engine.db-wal")]

    assert modes == [0o600, 0o600]


async def test_the_oldest_lines_of_a_log_go_first(tmp_path: Path) -> None:
    bounds = LogBounds(lines=8)
    async with SqliteStore.open(tmp_path / "engine.db", bounds=bounds) as store:
        store.append_log("1", "resize", [line(b"%d" % n) for n in range(8)])
        await store.flush()
        store.append_log("1", "resize", [line(b"8")])
        await store.flush()

        lines = await store.list_log("1", "resize", since=None, after=0, limit=99)

        assert [each.text for _, each in lines] == [b"%d" % n for n in range(2, 9)]
        assert [position for position, _ in lines] == list(range(3, 10))
        assert store.counters.log_lines_deleted == 2


async def test_of_a_long_log_no_more_lines_go_than_have_to(tmp_path: Path) -> None:
    bounds = LogBounds(lines=400)
    async with SqliteStore.open(tmp_path / "engine.db", bounds=bounds) as store:
        store.append_log("1", "resize", [line(b"%d" % n) for n in range(613)])
        await store.flush()

        lines = await store.list_log("1", "resize", since=None, after=0, limit=999)

        assert [each.text for _, each in lines] == [b"%d" % n for n in range(263, 613)]
        assert store.counters.log_lines_deleted == 263


async def test_a_log_is_bounded_in_bytes(tmp_path: Path) -> None:
    bounds = LogBounds(bytes=1_000)
    async with SqliteStore.open(tmp_path / "engine.db", bounds=bounds) as store:
        store.append_log("1", "resize", [line(b"x" * 100) for _ in range(30)])
        await store.flush()

        lines = await store.list_log("1", "resize", since=None, after=0, limit=99)

    assert 0 < sum(len(each.text) for _, each in lines) <= 1_000


async def test_the_longest_log_of_a_tenant_gives_way(tmp_path: Path) -> None:
    bounds = LogBounds(tenant_bytes=1_000)
    async with SqliteStore.open(tmp_path / "engine.db", bounds=bounds) as store:
        store.append_log("1", "quiet", [line(b"x" * 100)])
        store.append_log("1", "loud", [line(b"x" * 100) for _ in range(20)])
        await store.flush()

        quiet = await store.list_log("1", "quiet", since=None, after=0, limit=99)
        loud = await store.list_log("1", "loud", since=None, after=0, limit=99)

    assert len(quiet) == 1
    assert 0 < len(loud) <= 9


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(schema_steps()) + 1}")
    connection.close()

    with pytest.raises(Refusal, match="newer Sandlot"):
        async with SqliteStore.open(path):
            pass


async def test_a_database_from_before_networks_is_brought_up_to_date(
    tmp_path: Path,
) -> None:
    path = tmp_path / "engine.db"
    connection = sqlite3.connect(path)
    connection.executescript(schema_steps()[0] + "PRAGMA user_version = 1;")
    for tenant_id in (DEFAULT_TENANT_ID, "000000000007"):
        connection.execute(_INSERT_TENANT, (tenant_id,))
    connection.execute(
        "INSERT INTO functions VALUES ('1', 'resize', 'rev-1', 'aa', NULL, ?)",
        (json.dumps(_BODY_OF_SCHEMA_1),),
    )
    connection.commit()
    connection.close()

    async with SqliteStore.open(path) as store:
        tenants = await store.list_tenants(after="", limit=9)
        kept = await store.get_function("1", "resize")

    assert {each.id: each.network for each in tenants} == {
        DEFAULT_TENANT_ID: Network.HOST,
        "000000000007": Network.NONE,
    }
    assert [each.network_allow for each in tenants] == [(), ()]
    assert kept == function()


async def test_functions_from_before_versions_are_their_latest(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    body = {
        **_BODY_OF_SCHEMA_1,
        "pending": {
            **_BODY_OF_SCHEMA_1["serving"],
            "id": "rev-2",
            "code": {"sha256": "bb", "size": 10, "unpacked_size": 20},
        },
    }
    connection = sqlite3.connect(path)
    steps = schema_steps()[:2]
    connection.executescript("".join(steps) + "PRAGMA user_version = 2;")
    connection.execute(
        "INSERT INTO functions VALUES ('1', 'resize', 'rev-2', 'aa', 'bb', ?)",
        (json.dumps(body),),
    )
    connection.commit()
    connection.close()

    async with SqliteStore.open(path) as store:
        (kept,) = await store.all_functions()
        in_use = [await store.code_in_use(sha256) for sha256 in ("aa", "bb", "cc")]
        await store.put_function(
            replace(kept, pending=None, revision_id="new"), expected="rev-2"
        )
        last = await store.last_version("1", "resize")

    assert (kept.version, kept.revision_id, last) == ("$LATEST", "rev-2", 0)
    assert in_use == [True, True, False]


async def test_what_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(Internal, match="damaged"):
        async with SqliteStore.open(path):
            pass


async def test_who_locks_the_database_is_told_of_at_once_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "BUSY_TIMEOUT_S", 0.2)
    path = tmp_path / "engine.db"
    async with Database.open(path) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(5):  # a batch waits once, and not each of it
                found = await asyncio.gather(
                    *(database.write(lambda _: None) for _ in range(200)),
                    return_exceptions=True,
                )
        await database.write(lambda _: None)

    assert len(found) == 200
    assert all(isinstance(each, Unavailable) for each in found)
    assert "Another process has the database locked" in str(found[0])
    assert caplog.text.count("a change could not be kept") == 1


async def test_a_change_that_fails_does_not_take_others_with_it(
    tmp_path: Path,
) -> None:
    def insert(connection: sqlite3.Connection) -> None:
        connection.execute(_INSERT_TENANT, ("1",))

    def break_half_way(connection: sqlite3.Connection) -> None:
        connection.execute(_INSERT_TENANT, ("2",))
        connection.execute(_INSERT_TENANT, (None,))

    async with Database.open(tmp_path / "engine.db") as database:
        good, bad = await asyncio.gather(
            database.write(insert),
            database.write(break_half_way),
            return_exceptions=True,
        )
        ids = await database.read(
            lambda connection: connection.execute("SELECT id FROM tenants").fetchall()
        )

    assert good is None
    assert isinstance(bad, Internal)
    assert ids == [("1",)]


async def test_refusals_share_a_commit_with_what_succeeds(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        results = await asyncio.gather(
            *(store.create_function(function("resize")) for _ in range(3)),
            *(store.create_function(function(f"other-{n}")) for n in range(3)),
            return_exceptions=True,
        )

        assert sum(isinstance(result, AlreadyExists) for result in results) == 2
        assert len(await store.all_functions()) == 4


async def test_records_wait_out_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        with monkeypatch.context() as patch:
            patch.setattr(
                "sandlot_engine.store.sqlite.records.insert_records", _full_disk
            )
            store.append(record(), [])
            with pytest.raises(Internal, match="full disk"):
                await store.flush()
            with pytest.raises(Unavailable, match="full disk"):
                store.check_writing()
        assert store.counters.records_behind == 1

        await store.flush()
        store.check_writing()

        assert len(await store.list_records("1", "resize", before=0, limit=9)) == 1


async def test_a_log_that_is_read_has_what_was_appended_a_moment_ago(
    tmp_path: Path,
) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        store.append(record(), [line(b"just now")])

        pages = [p async for p in tail(store, "1", "resize", since=None, follow=False)]

        assert [one.text for page in pages for one in page] == [b"just now"]


async def test_a_log_is_read_though_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        store.append(record(), [line(b"kept")])
        await store.flush()
        with monkeypatch.context() as patch:
            patch.setattr(
                "sandlot_engine.store.sqlite.records.insert_records", _full_disk
            )
            store.append(record(), [line(b"behind")])
            reading = tail(store, "1", "resize", since=None, follow=False)
            pages = [page async for page in reading]

        assert [one.text for page in pages for one in page] == [b"kept"]


def _full_disk(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
