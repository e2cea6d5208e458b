"""A row that cannot be read is told, counted and left out; all others are as before."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sandlot_engine.errors import Unavailable
from sandlot_engine.model.event import Delivery, DeliveryKind, Event, EventState
from sandlot_engine.store.event_ports import Settled
from sandlot_engine.store.sqlite import SqliteStore, events
from tests.fakes.things import NOON, function, tenant


def event(request_id: str) -> Event:
    return Event(
        request_id=request_id,
        tenant_id="1",
        function="resize",
        size=2,
        accepted=NOON,
        due=NOON,
    )


def damage(path: Path, table: str, column: str, where: str, value: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        done = connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE {where}",  # noqa: S608
            (value,),
        )
        connection.commit()
    assert done.rowcount == 1


BAD_BODIES = ["{", "", "[]", '{"request_id": 7}', b"\xff\xfe"]


@pytest.mark.parametrize("body", BAD_BODIES)
async def test_an_event_that_ran_and_cannot_be_read_does_not_end_the_start(
    tmp_path: Path, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        first = await store.put_event(event("damaged"), b"{}")
        second = await store.put_event(event("whole"), b"{}")
        assert first is not None
        assert second is not None
        await store.claim_events([first, second], now=NOON)
    damage(path, "events", "body", f"position = {first}", body)

    async with SqliteStore.open(path) as store:
        [(kept, _)] = await store.running_events(limit=1)
        left = await store.running_events(limit=9)
        depths = await store.event_depths()
        found = await store.get_event("1", "damaged")
        listed = await store.list_events("1", limit=9)

    assert kept.request_id == "whole"
    assert len(left) == 1
    assert [(depth.state, depth.count) for depth in depths] == [(EventState.RUNNING, 1)]
    assert found is None
    assert [each.request_id for each in listed] == ["whole"]
    assert store.damaged == 1
    assert f"the event at position {first} cannot be read" in caplog.text


async def test_an_event_that_waits_and_cannot_be_read_keeps_no_other_waiting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        positions = [
            await store.put_event(event("damaged"), b"1"),
            await store.put_event(event("whole"), b"2"),
        ]
        damage(path, "events", "body", f"position = {positions[0]}", "{")

        claimed = await store.claim_events(
            [position for position in positions if position], now=NOON
        )
        again = await store.running_events(limit=9)

    assert [(each.request_id, payload) for each, payload in claimed] == [
        ("whole", b"2")
    ]
    assert [each.request_id for each, _ in again] == ["whole"]
    assert store.damaged == 1


async def test_one_that_cannot_even_be_set_aside_keeps_no_other_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Unavailable("the disk is full")

    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        damaged = await store.put_event(event("damaged"), b"1")
        whole = await store.put_event(event("whole"), b"2")
        assert damaged is not None
        assert whole is not None
        damage(path, "events", "body", f"position = {damaged}", "{")
        monkeypatch.setattr(events, "set_aside", full)

        claimed = await store.claim_events([damaged, whole], now=NOON)

    assert [each.request_id for each, _ in claimed] == ["whole"]


async def test_of_an_event_that_cannot_be_read_nobody_is_told(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        position = await store.put_event(event("damaged"), b"{}")
        assert position is not None
        [(claimed, _)] = await store.claim_events([position], now=NOON)
        told = Delivery(
            position=position,
            tenant_id="1",
            kind=DeliveryKind.DESTINATION,
            target="arn:queue",
            due=NOON,
            since=NOON,
        )
        await store.settle_event(Settled(event=claimed, deliveries=(told,)))
        damage(path, "events", "body", f"position = {position}", "{")
        [waiting] = await store.waiting_deliveries("1", "arn:queue", limit=9)

        parcel = await store.get_parcel(waiting.position)

        assert parcel is None
        assert await store.waiting_deliveries("1", "arn:queue", limit=9) == []
        assert store.damaged == 1


async def test_an_event_that_was_set_aside_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        position = await store.put_event(event("damaged"), b"{}")
        assert position is not None
        with closing(sqlite3.connect(path)) as connection:
            [(body,)] = connection.execute("SELECT body FROM events")
        damage(path, "events", "body", f"position = {position}", "{")
        assert await store.claim_events([position], now=NOON) == []

        damage(path, "events", "body", f"position = {position}", body)
        damage(path, "events", "state", f"position = {position}", 0)
        [(claimed, _)] = await store.claim_events([position], now=NOON)

    assert claimed.request_id == "damaged"


@pytest.mark.parametrize("body", ["{", "", "[]", '{"name": 7}'])
async def test_a_function_that_cannot_be_read_hides_no_other(
    tmp_path: Path, body: str
) -> None:
    path = tmp_path / "engine.db"
    async with SqliteStore.open(path) as store:
        await store.create_function(function())
        await store.create_function(function(name="other"))
    damage(path, "functions", "body", "name = 'other'", body)

    async with SqliteStore.open(path) as store:
        assert await store.all_functions() == [function()]
        assert await store.get_function("1", "other") is None

    assert store.damaged == 2


async def test_a_tenant_that_cannot_be_read_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "engine.db"
    caplog.set_level(logging.ERROR)
    async with SqliteStore.open(path) as store:
        await store.create_tenant(tenant("1"))
        await store.create_tenant(tenant("2"))
    damage(path, "tenants", "network", "id = '1'", "nonsense")

    async with SqliteStore.open(path) as store:
        listed = await store.list_tenants(after="", limit=9)

    assert [each.id for each in listed] == ["2"]
    assert "the tenant 1 cannot be read" in caplog.text
