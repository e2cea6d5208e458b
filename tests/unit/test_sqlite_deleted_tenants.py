"""What of a tenant goes with it, and what stays."""

from datetime import timedelta
from pathlib import Path

from sandlot_engine.store.sqlite import SqliteStore
from tests.fakes.things import NOON, line, record, tenant


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
