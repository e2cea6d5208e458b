"""What every `RecordStore` promises."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_engine.model.invocation import BillLine, Record
from sandlot_engine.store.ports import RecordStore
from tests.fakes.stores import ADAPTERS, OpenStore
from tests.fakes.things import NOON, line, record

SECOND = timedelta(seconds=1)
DEADLINE_S = 10


@pytest.fixture(params=ADAPTERS)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[RecordStore]:
    open_store: OpenStore = request.param
    async with open_store(tmp_path) as opened:
        yield opened


async def test_a_record_comes_back_as_it_was_appended(store: RecordStore) -> None:
    store.append(record(), [])
    await store.flush()

    [(_, kept)] = await store.list_records("1", "resize", before=0, limit=10)

    assert kept == record()


async def test_records_are_listed_newest_first_and_page_by_page(
    store: RecordStore,
) -> None:
    for number in range(5):
        store.append(record(f"r-{number}"), [])
    await store.flush()

    first = await store.list_records("1", "resize", before=0, limit=2)
    second = await store.list_records("1", "resize", before=first[-1][0], limit=9)

    assert [each.request_id for _, each in first] == ["r-4", "r-3"]
    assert [each.request_id for _, each in second] == ["r-2", "r-1", "r-0"]


async def test_records_of_all_functions_are_one_tenants_own(
    store: RecordStore,
) -> None:
    store.append(record("r-1", function="resize"), [])
    store.append(record("r-2", function="scan"), [])
    store.append(record("r-3", tenant_id="2"), [])
    await store.flush()

    everything = await store.list_records("1", "", before=0, limit=9)
    one = await store.list_records("1", "scan", before=0, limit=9)

    assert [each.request_id for _, each in everything] == ["r-2", "r-1"]
    assert [each.request_id for _, each in one] == ["r-2"]


async def test_a_bill_sums_by_function_what_is_not_flushed_as_well(
    store: RecordStore,
) -> None:
    store.append(record(memory_mb=128, billed_ms=3), [])
    store.append(record(memory_mb=256, billed_ms=5), [])
    store.append(record(function="scan", memory_mb=512, billed_ms=7), [])
    store.append(record(tenant_id="2"), [])

    bill = await store.bill("1", since=NOON, until=NOON + SECOND)

    assert bill == [
        BillLine(
            function="resize",
            invocations=2,
            billed_ms=8,
            billed_mb_ms=128 * 3 + 256 * 5,
        ),
        BillLine(function="scan", invocations=1, billed_ms=7, billed_mb_ms=512 * 7),
    ]


async def test_a_bill_has_its_first_moment_and_not_its_last(store: RecordStore) -> None:
    store.append(record(time=NOON), [])
    store.append(record(time=NOON + SECOND), [])

    [line_] = await store.bill("1", since=NOON, until=NOON + SECOND)

    assert line_.invocations == 1


async def test_the_bill_of_nothing_is_empty(store: RecordStore) -> None:
    assert await store.bill("1", since=NOON, until=NOON + SECOND) == []


async def test_log_lines_come_back_oldest_first_above_a_position(
    store: RecordStore,
) -> None:
    store.append(record(), [line(b"START"), line(b"\xff\x00 any bytes")])
    store.append_log("1", "resize", [line(b"from the import")])
    await store.flush()

    lines = await store.list_log("1", "resize", since=None, after=0, limit=9)
    rest = await store.list_log("1", "resize", since=None, after=lines[0][0], limit=1)

    assert [each for _, each in lines] == [
        line(b"START"),
        line(b"\xff\x00 any bytes"),
        line(b"from the import"),
    ]
    assert rest == lines[1:2]


async def test_a_log_starts_where_it_is_asked_to(store: RecordStore) -> None:
    store.append_log("1", "resize", [line(b"old"), line(b"new", time=NOON + SECOND)])
    await store.flush()

    lines = await store.list_log("1", "resize", since=NOON + SECOND, after=0, limit=9)

    assert [each.text for _, each in lines] == [b"new"]


async def test_a_log_is_one_functions_own(store: RecordStore) -> None:
    store.append_log("1", "scan", [line(b"other function")])
    store.append_log("2", "resize", [line(b"other tenant")])
    await store.flush()

    assert await store.list_log("1", "resize", since=None, after=0, limit=9) == []


async def test_a_follower_wakes_when_a_line_is_written(store: RecordStore) -> None:
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        follower = tasks.create_task(store.wait_for_log("1", "resize", after=0))
        store.append_log("1", "scan", [line(b"not mine")])
        await store.flush()
        assert not follower.done()

        store.append_log("1", "resize", [line(b"mine")])
        await follower


async def test_a_follower_who_is_behind_does_not_wait(store: RecordStore) -> None:
    store.append_log("1", "resize", [line(b"one"), line(b"two")])
    await store.flush()

    async with asyncio.timeout(DEADLINE_S):
        await store.wait_for_log("1", "resize", after=1)


runs = st.tuples(
    st.sampled_from(["resize", "scan"]),
    st.integers(128, 10_240),
    st.integers(0, 900_000),
    st.integers(0, 10),
)


@pytest.mark.parametrize("open_store", ADAPTERS)
@settings(max_examples=15)
@given(appended=st.lists(runs, max_size=40), since=st.integers(0, 10))
async def test_a_bill_is_the_exact_sum_of_its_records(
    open_store: OpenStore, appended: list[tuple[str, int, int, int]], since: int
) -> None:
    records: list[Record] = [
        record(
            function=function,
            memory_mb=memory_mb,
            billed_ms=billed_ms,
            time=NOON + second * SECOND,
        )
        for function, memory_mb, billed_ms, second in appended
    ]
    with TemporaryDirectory() as folder:
        async with open_store(Path(folder)) as store:
            for each in records:
                store.append(each, [])

            first = NOON + since * SECOND
            bill = await store.bill("1", since=first, until=NOON + 11 * SECOND)

    billed = [each for each in records if each.time >= first]
    assert sum(each.invocations for each in bill) == len(billed)
    assert sum(each.billed_mb_ms for each in bill) == sum(
        each.report.memory_mb * each.report.billed_ms for each in billed
    )
