"""What is kept of a tenant's logs, however many functions it has had."""

from datetime import UTC, datetime
from pathlib import Path

from sandlot_engine.model.invocation import LogLine, LogSource
from sandlot_engine.store.sqlite import LogBounds, SqliteStore


async def test_lines_of_no_bytes_are_bounded_over_all_functions_of_a_tenant(
    tmp_path: Path,
) -> None:
    bounds = LogBounds(tenant_lines=50)
    async with SqliteStore.open(tmp_path / "engine.db", bounds=bounds) as store:
        for number in range(20):
            store.append_log("1", f"gone-{number}", [_empty_line()] * 10)
            await store.flush()
        store.append_log("2", "other", [_empty_line()] * 10)
        await store.flush()

        kept = [await _lines_of(store, "1", f"gone-{number}") for number in range(20)]
        others = await _lines_of(store, "2", "other")

    assert 0 < sum(kept) <= 50
    assert others == 10


async def _lines_of(store: SqliteStore, tenant_id: str, function: str) -> int:
    found = await store.list_log(tenant_id, function, since=None, after=0, limit=99)
    return len(found)


def _empty_line() -> LogLine:
    return LogLine(
        time=datetime(2026, 1, 1, tzinfo=UTC),
        request_id="",
        source=LogSource.FUNCTION,
        text=b"",
    )
