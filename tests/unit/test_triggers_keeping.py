"""Triggers are kept with their functions."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandlot_engine.errors import (
    AlreadyExists,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
)
from sandlot_engine.model.trigger import Trigger, TriggerKind
from sandlot_engine.store.ports import Document
from sandlot_engine.triggers import keeping
from tests.fakes.catalog import TENANT
from tests.fakes.triggers import World, world_in


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as world:
        yield world


async def test_a_trigger_is_found_by_its_name(world: World) -> None:
    made = await world.create("rate(1 hour)")

    assert world.triggers.get(TENANT, "nightly") == made
    assert world.triggers.find(TENANT, "nightly", "other") is None
    assert world.triggers.find("000000000001", "nightly") is None
    with pytest.raises(NotFound, match=r"Trigger weekly does not exist\."):
        world.triggers.get(TENANT, "weekly")
    with pytest.raises(NotFound, match=r"Trigger nightly does not exist\."):
        world.triggers.get(TENANT, "nightly", kind=TriggerKind.WEBHOOK)


async def test_a_name_is_given_once(world: World) -> None:
    await world.create("rate(1 hour)")

    with pytest.raises(AlreadyExists, match=r"Schedule nightly already exists\."):
        await world.create("rate(2 hours)")


async def test_lists_are_by_name_filtered_and_in_pages(world: World) -> None:
    for name in ("b", "a", "c"):
        await world.create("rate(1 hour)", name)
    await world.triggers.change(
        TENANT, "c", change=lambda old: replace(old, is_enabled=False)
    )

    first, token = world.triggers.list(TENANT, page_size=2)
    rest, end = world.triggers.list(TENANT, page_size=2, page_token=token)
    paused, _ = world.triggers.list(TENANT, is_enabled=False)
    none, _ = world.triggers.list(TENANT, kind=TriggerKind.BUCKET)

    assert [each.name for each in first] == ["a", "b"]
    assert [each.name for each in rest] == ["c"]
    assert end == ""
    assert [each.name for each in paused] == ["c"]
    assert none == []


async def test_a_function_takes_its_triggers_along(world: World) -> None:
    await world.create("rate(1 hour)")
    await world.create("rate(1 hour)", "other")
    await world.triggers.change(
        TENANT, "other", change=lambda old: replace(old, function="shrink")
    )
    await world.ticker.tick()

    await world.bench.functions.delete(TENANT, "resize")

    assert world.triggers.find(TENANT, "nightly") is None
    assert world.triggers.find(TENANT, "other") is not None
    assert [each.key for each in await world.store.all_documents("trigger")] != []
    assert {
        each.owner
        for kind in ("trigger", "trigger-progress")
        for each in await world.store.all_documents(kind)
    } == {"shrink"}


async def test_a_name_is_free_again_once_its_function_is_gone(world: World) -> None:
    await world.create("rate(1 hour)")
    await world.bench.functions.delete(TENANT, "resize")

    made = await world.triggers.create(
        world.trigger(function="shrink", schedule=world.schedule("rate(1 hour)"))
    )

    assert world.triggers.get(TENANT, "nightly") == made


async def test_a_version_that_goes_takes_no_trigger_of_its_name_along(
    world: World,
) -> None:
    await world.bench.publish()
    await world.create("rate(1 hour)", "1")

    await world.bench.functions.delete_version(TENANT, "resize", "1")

    assert world.triggers.find(TENANT, "1") is not None


async def test_what_a_trigger_is_for_has_to_be_there(world: World) -> None:
    schedule = world.schedule("rate(1 hour)")

    for function, qualifier in (("gone", ""), ("resize", "live")):
        with pytest.raises(InvalidParameter):
            await world.triggers.create(
                world.trigger(function=function, qualifier=qualifier, schedule=schedule)
            )
    with pytest.raises(NotFound, match=r"Schedule group ours does not exist\."):
        await world.triggers.create(world.trigger(group="ours", schedule=schedule))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"input": "{"}, "Input is the function's event, and must be JSON"),
        ({"input": '"' + "x" * 262_144 + '"'}, "Input has 262146 bytes of 262144"),
        ({"window_min": 1_441}, "MaximumWindowInMinutes is 1441; it must be 0 to 1440"),
        ({"max_age_s": 59}, "MaximumEventAgeInSeconds is 59"),
        ({"max_retries": 186}, "MaximumRetryAttempts is 186"),
        ({"zone": "Nowhere"}, "Invalid Schedule Expression Timezone Nowhere"),
        ({"expression": "soon"}, r"Invalid Schedule Expression soon\."),
    ],
)
async def test_what_a_schedule_cannot_be_is_refused(
    world: World, fields: dict[str, object], why: str
) -> None:
    schedule = replace(world.schedule("rate(1 hour)"), **fields)  # type: ignore[arg-type]

    with pytest.raises(InvalidParameter, match=why):
        await world.triggers.create(world.trigger(schedule=schedule))


async def test_dates_are_in_order_and_not_long_past(world: World) -> None:
    now = world.now

    with pytest.raises(InvalidParameter, match="cannot be earlier than 5 minutes ago"):
        await world.create("rate(1 hour)", start=now - timedelta(minutes=6))
    with pytest.raises(InvalidParameter, match="EndDate must be later"):
        await world.create("rate(1 hour)", start=now, end=now)


@pytest.mark.parametrize("name", ["", "a b", "ü", "a/b", "x" * 65])
async def test_names_are_those_that_aws_takes(world: World, name: str) -> None:
    with pytest.raises(InvalidParameter, match="It must have 1 to 64"):
        await world.create("rate(1 hour)", name)


async def test_a_tenant_has_no_more_triggers_and_input_than_are_allowed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MAX_TRIGGERS", 2)
    monkeypatch.setattr(keeping, "MAX_INPUTS", 20)
    await world.create("rate(1 hour)", "a", input='"' + "x" * 10 + '"')

    with pytest.raises(QuotaExceeded, match="would have 24 bytes of 20 allowed"):
        await world.create("rate(1 hour)", "b", input='"' + "x" * 10 + '"')
    await world.create("rate(1 hour)", "b")
    with pytest.raises(QuotaExceeded, match="has 2 triggers of 2 allowed"):
        await world.create("rate(1 hour)", "c")
    # To change one needs no more room.
    await world.triggers.change(
        TENANT, "a", change=lambda old: replace(old, is_enabled=False)
    )


async def test_triggers_are_there_again_after_a_restart(tmp_path: Path) -> None:
    async with world_in(tmp_path) as before:
        made = await before.create("rate(1 hour)", input="[1]")
    async with world_in(tmp_path, store=before.store) as after:
        assert after.triggers.get(TENANT, "nightly") == made


async def test_a_crash_while_one_moves_leaves_one(tmp_path: Path) -> None:
    async with world_in(tmp_path) as before:
        made = await before.create("rate(1 hour)")
        (old,) = await before.store.all_documents("trigger")
        before.clock.advance(1)
        moved = await before.triggers.change(
            TENANT, "nightly", change=lambda one: replace(one, function="shrink")
        )
        # As if the last of its steps had not come.
        await before.store.put_document(old)
    async with world_in(tmp_path, store=before.store) as after:
        assert after.triggers.get(TENANT, "nightly") == moved != made
        documents = await after.store.all_documents("trigger")

    assert [each.owner for each in documents] == ["shrink"]


async def test_a_group_takes_its_schedules_along(world: World) -> None:
    await world.groups.create(TENANT, "ours", {})
    await world.triggers.create(
        world.trigger(group="ours", schedule=world.schedule("rate(1 hour)"))
    )
    await world.create("rate(1 hour)")

    await world.groups.delete(TENANT, "ours")

    assert world.triggers.find(TENANT, "nightly", "ours") is None
    assert world.triggers.find(TENANT, "nightly") is not None
    with pytest.raises(NotFound, match=r"Schedule group ours does not exist\."):
        world.groups.get(TENANT, "ours")


async def test_the_default_group_is_there_and_stays(world: World) -> None:
    with pytest.raises(AlreadyExists):
        await world.groups.create(TENANT, "default", {})
    with pytest.raises(InvalidParameter, match="cannot be deleted"):
        await world.groups.delete(TENANT, "default")

    assert [
        group.name
        for group in world.groups.list(TENANT, prefix="", page_size=0, page_token="")[0]
    ] == ["default"]


async def test_what_a_document_lacks_has_its_default(world: World) -> None:
    # As an older engine wrote it.
    await world.store.put_document(
        Document(
            tenant_id=TENANT,
            kind="trigger",
            owner="resize",
            key="trigger/old",
            body=b'{"id":"1","tenant_id":"%s","kind":"schedule","name":"old",'
            b'"function":"resize","created":"2026-01-01T00:00:00Z",'
            b'"modified":"2026-01-01T00:00:00Z","schedule":{"expression":'
            b'"rate(1 day)","anchor":"2026-01-01T00:00:00Z"}}' % TENANT.encode(),
        )
    )
    kept = keeping.kept_triggers(world.store)
    await kept.load()

    found = kept.get(TENANT, "resize", "trigger/old")

    assert isinstance(found, Trigger)
    assert found.is_enabled
    assert found.schedule is not None
    assert found.schedule.max_age_s == 86_400
