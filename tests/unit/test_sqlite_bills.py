"""Bills out of the database: exact from any moment to any other, and nobody waits for
them but their own tenant."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.invocation import BillLine, Record
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.store.sqlite.connection import READERS, Database
from sandlot_engine.store.sqlite.migrations import schema_steps
from tests.fakes.runner import FakeClock
from tests.fakes.things import NOON, record

DEADLINE_S = 30


def _records() -> Iterator[Record]:
    """Of two functions within five hours, some of them to the hour; and another's."""
    chance = random.Random(7)  # noqa: S311 - a load, and no secret
    hour = NOON.replace(minute=0, second=0, microsecond=0)
    for number in range(200):
        after = chance.choice([chance.uniform(0, 5), float(chance.randrange(6))])
        yield record(
            f"r-{number}",
            function=chance.choice(["resize", "mail"]),
            tenant_id=chance.choice(["1", "1", "2"]),
            time=hour + timedelta(hours=after),
            billed_ms=chance.randrange(1, 900),
            memory_mb=chance.choice([128, 512]),
        )


def _bill(records: list[Record], since: datetime, until: datetime) -> list[BillLine]:
    """As the specification has it, one by one."""
    lines = []
    for name in ("mail", "resize"):
        of = [
            each.report
            for each in records
            if (each.tenant_id, each.function) == ("1", name)
            and since <= each.time < until
        ]
        if of:
            lines.append(
                BillLine(
                    function=name,
                    invocations=len(of),
                    billed_ms=sum(each.billed_ms for each in of),
                    billed_mb_ms=sum(each.billed_mb_ms for each in of),
                )
            )
    return lines


async def test_a_bill_is_exact_from_any_moment_to_any_other(tmp_path: Path) -> None:
    records = list(_records())
    chance = random.Random(8)  # noqa: S311 - as above
    moments = [each.time for each in chance.sample(records, 12)]
    moments += [NOON - timedelta(days=400), NOON + timedelta(days=400)]

    async with SqliteStore.open(tmp_path / "engine.db") as store:
        for each in records:
            store.append(each, [])
        for since in moments:
            for until in moments:
                found = await store.bill("1", since=since, until=until)
                assert found == _bill(records, since, until), (since, until)


async def test_what_was_billed_before_there_were_sums_is_in_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "engine.db"
    connection = sqlite3.connect(path)
    connection.executescript("".join(schema_steps()[:6]) + "PRAGMA user_version = 6;")
    hour_us = 3_600_000_000
    for time in (hour_us, hour_us + 1, 3 * hour_us):
        connection.execute(
            "INSERT INTO records (tenant_id, function, version, request_id, time,"
            " status, error_type, duration_ms, wait_ms, billed_ms, memory_mb,"
            " max_memory_used_mb, billed_mb_ms)"
            " VALUES ('1', 'old', '1', 'r', ?, 'ok', '', 1, 0, 2, 128, 9, 256)",
            (time,),
        )
    connection.commit()
    connection.close()

    async with SqliteStore.open(path) as store:
        (line,) = await store.bill("1", since=NOON.replace(year=1), until=NOON)

    assert (line.invocations, line.billed_ms, line.billed_mb_ms) == (3, 6, 768)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


async def test_who_has_much_to_read_keeps_nobody_else_waiting(
    tmp_path: Path, gate: threading.Event
) -> None:
    async with Database.open(tmp_path / "engine.db") as database:

        def slow(_: sqlite3.Connection) -> bool:
            return gate.wait(DEADLINE_S)

        reading = [
            asyncio.create_task(database.read_for("1", slow))
            for _ in range(3 * READERS)
        ]
        async with asyncio.timeout(DEADLINE_S):
            other = await database.read_for("2", lambda _: "theirs")
            key = await database.read(lambda _: "a key")
            gate.set()
            done = await asyncio.gather(*reading)

    assert (other, key) == ("theirs", "a key")
    assert all(done)


async def test_who_gives_up_has_no_other_turn_while_that_one_is_read(
    tmp_path: Path, gate: threading.Event
) -> None:
    begun = threading.Semaphore(0)
    async with Database.open(tmp_path / "engine.db") as database:

        def slow(_: sqlite3.Connection) -> bool:
            begun.release()
            return gate.wait(DEADLINE_S)

        given_up = []
        for _ in range(3 * READERS):
            task = asyncio.create_task(database.read_for("1", slow))
            given_up.append(task)
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.to_thread(begun.acquire)
            for task in given_up:
                task.cancel()
            other = await database.read_for("2", lambda _: "theirs")
            gate.set()
            await asyncio.wait(given_up)

    assert other == "theirs"
    assert not begun.acquire(blocking=False), "one was read, and no more"
    assert all(task.cancelled() for task in given_up)


async def test_old_records_go_and_their_hours_stay_billed(tmp_path: Path) -> None:
    hour = NOON.replace(minute=0, second=0, microsecond=0)
    old = [record(f"o-{n}", time=hour + timedelta(minutes=n)) for n in range(30)]
    new = record("new", time=hour + timedelta(days=2, minutes=7))

    path = tmp_path / "engine.db"
    clock = FakeClock()
    async with SqliteStore.open(path, keep_records_s=86_400, clock=clock) as store:
        for each in old:
            store.append(each, [])
        await store.flush()
        clock.advance(2 * 86_400)
        store.append(new, [])
        left = await store.bill("1", since=hour, until=new.time)
        kept = await store.list_records("1", "", before=0, limit=99)
        with pytest.raises(InvalidParameter, match="with a full hour"):
            await store.bill("1", since=NOON + timedelta(minutes=5), until=new.time)
        mid = await store.bill("1", since=new.time, until=NOON + timedelta(days=3))

    assert [each.request_id for _, each in kept] == ["new"]
    assert [line.invocations for line in left] == [30]
    assert [line.invocations for line in mid] == [1]


async def test_a_clock_that_is_set_ahead_deletes_no_record(tmp_path: Path) -> None:
    path, years = tmp_path / "engine.db", timedelta(days=4_000)
    async with SqliteStore.open(path, keep_records_s=86_400) as store:
        for each in (record("old"), record("ahead", time=NOON + years)):
            store.append(each, [])
            await store.flush()

        assert len(await store.list_records("1", "", before=0, limit=9)) == 2


async def test_a_start_with_a_clock_that_is_far_ahead_deletes_no_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock, years = tmp_path / "engine.db", FakeClock(), timedelta(days=4_000)
    times = [NOON, NOON + timedelta(minutes=1), NOON + years, NOON + years]
    for number, time in enumerate(times):
        opened = SqliteStore.open(path, keep_records_s=86_400, clock=clock)
        async with opened as store:
            store.append(record(f"r-{number}", time=time), [])
            await store.flush()
            left = await store.list_records("1", "", before=0, limit=9)

        # Whoever has read the warning and starts it again has it done.
        assert [each.request_id for _, each in left] == (
            ["r-3", "r-2"]
            if number == 3
            else [f"r-{one}" for one in range(number, -1, -1)]
        )
    assert caplog.text.count("Look whether the clock is right") == 1


async def test_records_are_kept_for_ever_if_nothing_is_said(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "engine.db") as store:
        store.append(record("old", time=NOON.replace(year=1999)), [])
        store.append(record("new"), [])
        await store.flush()

        assert len(await store.list_records("1", "", before=0, limit=9)) == 2
