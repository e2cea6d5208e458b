"""Schedules fire: on time, once, and again after whatever stopped the engine."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandlot_engine.errors import InvalidParameter, Throttled
from sandlot_engine.model.invocation import Invocation
from sandlot_engine.model.trigger import Missed, Trigger
from sandlot_engine.triggers import keeping, plan
from sandlot_engine.triggers import ticker as ticker_module
from sandlot_engine.triggers.sending import Sender
from sandlot_engine.triggers.ticker import Ticker
from tests.fakes.catalog import TENANT
from tests.fakes.triggers import REGION, FakeEvents, World, world_in
from tests.fakes.waiting import eventually

FULL = Throttled("full", reason="CallerRateLimitExceeded", limit=1, retry_after_s=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as world:
        yield world


async def test_a_rate_fires_at_once_and_then_as_often_as_it_says(world: World) -> None:
    await world.create("rate(10 minutes)")

    await world.pass_time(3_600)

    assert len(world.events.taken) == 7


async def test_the_event_is_the_one_that_aws_sends(world: World) -> None:
    # The clock shows 12:30.
    await world.create("cron(0 13 * * ? *)")

    await world.pass_time(1_800)

    (event,) = world.events.taken
    assert (event.function, event.qualifier, event.type) == ("resize", "", "Event")
    assert json.loads(event.payload) == {
        "version": "0",
        "id": event.request_id,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": TENANT,
        "time": "2026-05-17T13:00:00Z",
        "region": REGION,
        "resources": [f"arn:aws:scheduler:{REGION}:{TENANT}:schedule/default/nightly"],
        "detail": "{}",
    }


async def test_an_input_is_sent_with_what_it_asks_for(world: World) -> None:
    await world.create(
        "at(2026-05-17T12:31:00)",
        input='{"at":"<aws.scheduler.scheduled-time>",'
        '"n":"<aws.scheduler.attempt-number>",'
        '"id":"<aws.scheduler.execution-id>","of":"<aws.scheduler.schedule-arn>"}',
    )

    await world.pass_time(60)

    (event,) = world.events.taken
    assert json.loads(event.payload) == {
        "at": "2026-05-17T12:31:00Z",
        "n": "1",
        "id": event.request_id,
        "of": f"arn:aws:scheduler:{REGION}:{TENANT}:schedule/default/nightly",
    }


async def test_one_that_is_paused_does_nothing_and_makes_up_for_nothing(
    world: World,
) -> None:
    await world.create("cron(0 * * * ? *)")
    await world.triggers.change(
        TENANT, "nightly", change=lambda old: replace(old, is_enabled=False)
    )

    await world.pass_time(3 * 3_600)
    assert world.events.taken == []
    await world.triggers.change(
        TENANT, "nightly", change=lambda old: replace(old, is_enabled=True)
    )
    await world.pass_time(3_600)

    assert [json.loads(payload)["time"] for payload in world.events.payloads] == [
        "2026-05-17T16:00:00Z"
    ]


async def test_a_new_expression_begins_anew_and_a_new_input_does_not(
    world: World,
) -> None:
    await world.create("rate(1 hour)", input="1")
    await world.pass_time(600)

    def with_input(old: Trigger) -> Trigger:
        assert old.schedule is not None
        return replace(old, schedule=replace(old.schedule, input="2"))

    def with_rate(old: Trigger) -> Trigger:
        assert old.schedule is not None
        schedule = replace(old.schedule, expression="rate(2 hours)")
        return replace(old, schedule=schedule)

    await world.triggers.change(TENANT, "nightly", change=with_input)
    await world.pass_time(600)
    assert world.events.payloads == [b"1"]
    await world.triggers.change(TENANT, "nightly", change=with_rate)
    await world.pass_time(2 * 3_600)

    assert world.events.payloads == [b"1", b"2", b"2"]


async def test_one_that_moves_goes_on_where_it_was(world: World) -> None:
    await world.create("rate(1 hour)")
    await world.pass_time(0)

    await world.triggers.change(
        TENANT, "nightly", change=lambda old: replace(old, function="shrink")
    )
    await world.pass_time(3_600)

    assert [event.function for event in world.events.taken] == ["resize", "shrink"]


async def test_one_whose_function_is_gone_is_silent(world: World) -> None:
    await world.create("rate(1 hour)")
    await world.pass_time(0)

    await world.bench.functions.delete(TENANT, "resize")
    await world.pass_time(3 * 3_600)

    assert len(world.events.taken) == 1


async def test_one_that_is_over_is_deleted_if_that_was_asked_for(world: World) -> None:
    await world.create("at(2026-05-17T12:31:00)", "once", is_deleted_after=True)
    await world.create("at(2026-05-17T12:31:00)", "kept")
    await world.create(
        "rate(1 minute)",
        "ending",
        end=world.now + timedelta(minutes=3),
        is_deleted_after=True,
    )

    await world.pass_time(600)

    assert [each.name for each in world.triggers.all(TENANT)] == ["kept"]
    assert len(world.events.taken) == 2 + 3
    assert await world.store.all_documents("trigger-progress") != []


# --- once -----------------------------------------------------------------------


async def test_a_crash_between_the_event_and_its_note_makes_no_second_event(
    tmp_path: Path,
) -> None:
    events = FakeEvents()
    async with world_in(tmp_path, events=events) as before:
        await before.create("rate(1 hour)")
        await before.pass_time(0)
        # As if the note had not been written.
        await before.store.delete_documents(TENANT, "trigger-progress", "resize")
    async with world_in(
        tmp_path, store=before.store, clock=before.clock, events=events
    ) as after:
        await after.pass_time(30)
        progress = after.triggers.progress(after.triggers.get(TENANT, "nightly"))

    assert events.offered == 2
    assert len(events.taken) == 1
    assert progress.fired == 1


async def test_a_restart_goes_on_where_the_last_engine_was(tmp_path: Path) -> None:
    events = FakeEvents()
    async with world_in(tmp_path, events=events) as before:
        await before.create("rate(1 hour)")
        await before.pass_time(90 * 60)
    async with world_in(
        tmp_path, store=before.store, clock=before.clock, events=events
    ) as after:
        await after.pass_time(31 * 60)

    assert events.offered == 3
    assert [json.loads(payload)["time"][11:16] for payload in events.payloads] == [
        "12:30",
        "13:30",
        "14:30",
    ]


@pytest.mark.parametrize(
    ("missed", "made_up_for"), [(Missed.RUN_ONCE, ["15:00"]), (Missed.SKIP, [])]
)
async def test_what_passed_without_an_engine_is_made_up_for_once_or_not(
    tmp_path: Path, missed: Missed, made_up_for: list[str]
) -> None:
    async with world_in(tmp_path) as before:
        await before.create("cron(0 * * * ? *)", missed=missed)
        await before.pass_time(60)
    before.clock.advance(3 * 3_600)
    async with world_in(tmp_path, store=before.store, clock=before.clock) as after:
        await after.pass_time(0)
        progress = after.triggers.progress(after.triggers.get(TENANT, "nightly"))

    times = [json.loads(payload)["time"][11:16] for payload in after.events.payloads]
    assert times == made_up_for
    assert progress.missed == 3 - len(made_up_for)


async def test_a_clock_that_was_years_ahead_for_a_while_stops_no_schedule(
    world: World,
) -> None:
    await world.create("rate(1 hour)")
    await world.pass_time(0)
    years_s = 5 * 365 * 86_400.0
    world.clock.set_calendar(years_s)
    await world.pass_time(0)
    sent = len(world.events.payloads)

    world.clock.set_calendar(-years_s)
    await world.pass_time(3_700)

    assert len(world.events.payloads) == sent + 1


async def test_an_event_has_the_same_id_however_often_it_is_offered(
    world: World,
) -> None:
    made = await world.create("rate(1 hour)")
    await world.pass_time(0)

    key = plan.once_key(made, made.created)
    assert world.events.taken[0].request_id == plan.request_id(key)


# --- not taken ------------------------------------------------------------------


async def test_an_event_that_nobody_takes_is_offered_again_ever_more_rarely(
    world: World,
) -> None:
    world.events.refusal = FULL
    await world.create("at(2026-05-17T12:30:00)")

    await world.pass_time(31, step_s=1)

    assert world.events.offered == 6  # at once, and after 1, 3, 7, 15 and 31 s
    world.events.refusal = None
    await world.pass_time(60)
    assert len(world.events.taken) == 1
    assert world.ticker.pending == 0


async def test_it_is_given_up_after_its_retries_or_its_age(world: World) -> None:
    world.events.refusal = FULL
    few = await world.create("at(2026-05-17T12:30:00)", "few", max_retries=2)
    old = await world.create("at(2026-05-17T12:30:00)", "old", max_age_s=60)

    await world.pass_time(600, step_s=1)

    assert world.ticker.given_up == 2
    for trigger in (few, old):
        progress = world.triggers.progress(trigger)
        assert (progress.fired, progress.missed) == (0, 1)
        assert progress.last_error == "full"


async def test_one_that_will_never_be_taken_is_given_up_at_once(world: World) -> None:
    world.events.refusal = InvalidParameter("too large")
    await world.create("rate(1 hour)")

    await world.pass_time(60)

    assert (world.events.offered, world.ticker.given_up) == (1, 1)


async def test_what_comes_due_while_one_is_offered_again_follows_it(
    world: World,
) -> None:
    world.events.refusal = FULL
    await world.create("rate(1 minute)")
    await world.pass_time(30 * 60, step_s=10)

    world.events.refusal = None
    await world.pass_time(6 * 60, step_s=10)

    times = [json.loads(payload)["time"][11:16] for payload in world.events.payloads]
    assert times[0] == "12:30"
    assert times == sorted(set(times))
    progress = world.triggers.progress(world.triggers.get(TENANT, "nightly"))
    assert progress.fired + progress.missed == 36 + 1


async def test_a_schedule_that_fails_unforeseen_holds_up_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.create("rate(1 hour)", "a")
    await world.create("rate(1 hour)", "b")
    enqueue = world.events.enqueue

    async def fail_once(invocation: Invocation) -> None:
        if world.events.offered == 0:
            world.events.offered += 1
            raise RuntimeError("a mistake of ours")
        await enqueue(invocation)

    world.events.enqueue = fail_once  # type: ignore[method-assign]
    await world.pass_time(0)

    assert len(world.events.taken) == 1
    assert "a schedule failed" in caplog.text
    await world.pass_time(600)
    assert len(world.events.taken) == 2


async def test_changing_one_often_leaves_little_behind(world: World) -> None:
    await world.create("at(2099-01-01T00:00:00)")

    for _ in range(1_000):
        await world.triggers.change(
            TENANT, "nightly", change=lambda old: replace(old, description="x")
        )
        await world.ticker.tick()

    assert len(world.ticker._heap) < 100  # noqa: SLF001


async def test_schedules_that_go_with_their_functions_leave_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (ticker_module, keeping):
        monkeypatch.setattr(module, "_SWEPT_FROM", 4)
    world.ticker._sweep_at = world.triggers._sweep_at = 4  # noqa: SLF001

    for number in range(40):
        await world.create("at(2099-01-01T00:00:00)", f"n{number}")
        await world.ticker.tick()
        await world.bench.functions.delete(TENANT, "resize")
        await world.bench.create()

    assert len(world.ticker._wakes) <= 8  # noqa: SLF001
    assert len(world.triggers._places) <= 8  # noqa: SLF001


# --- by itself ------------------------------------------------------------------


async def test_running_it_fires_what_is_due_and_hears_of_what_is_new(
    world: World,
) -> None:
    sender = Sender(world.events, world.clock)
    others = asyncio.all_tasks()
    ticker = Ticker(world.triggers, sender, clock=world.clock, region=REGION)
    async with ticker.running():
        await world.create("at(2026-05-17T12:30:00)")

        async def has_fired() -> bool:
            return len(world.events.taken) == 1

        await eventually(has_fired)

    assert asyncio.all_tasks() <= others
