"""What of a tenant goes with it, and what stays."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from sandlot_engine.store.ports import Document
from sandlot_engine.store.sqlite import SqliteStore
from tests.fakes.stores import bytes_in
from tests.fakes.things import NOON, key, line, record, tenant

_WORDS = b"what a tenant would not have anybody read"


async def test_logs_go_with_their_tenant_and_its_bill_stays(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        for id_ in ("1", "2"):
            await store.create_tenant(tenant(id_))
            store.append(record(tenant_id=id_), [line(b"said")] * 5_000)
        await store.flush()

        await store.delete_tenant("1")

        left = [
            await store.list_log(id_, "resize", since=None, after=0, limit=9_999)
            for id_ in ("1", "2")
        ]
        bill = await store.bill("1", since=NOON, until=NOON + timedelta(days=1))
    assert [len(lines) for lines in left] == [0, 5_000]
    assert [each.invocations for each in bill] == [1]


async def test_nothing_of_a_deleted_tenant_is_left_in_the_folder(
    tmp_path: Path,
) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        await _fill_with_words(store)
        before = bytes_in(tmp_path)

        await store.delete_tenant("1")

        while_it_runs = bytes_in(tmp_path)
    assert before.count(_WORDS) >= 3
    assert while_it_runs.count(_WORDS) == 0


async def test_what_somebody_reads_goes_with_the_next_change(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        await _fill_with_words(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM tenants").fetchone()

            await store.delete_tenant("1")

            while_it_is_read = bytes_in(tmp_path)
        await store.create_tenant(tenant("2"))
        after_that = bytes_in(tmp_path)
    assert while_it_is_read.count(_WORDS) > 0
    assert after_that.count(_WORDS) == 0


async def _fill_with_words(store: SqliteStore) -> None:
    await store.create_tenant(tenant("1"))
    await store.create_key(key("AKIA1", tenant_id="1"), _WORDS)
    for kind in ("trigger", "policy"):
        await store.put_document(
            Document(tenant_id="1", kind=kind, owner="f", key="k", body=_WORDS)
        )
    store.append(record(tenant_id="1"), [line(_WORDS)] * 5)
    await store.flush()
