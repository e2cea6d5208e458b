"""The event queue, and clocks that are set, or were wrong when it started."""

import asyncio
import logging
from typing import Any

import pytest

from sandlot_engine.events import keeping
from sandlot_engine.events.lanes import MAX_WINDOW
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import Event, EventState
from tests.fakes.event_queue import Failed, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("by_s", [-86_400.0, 86_400.0], ids=["back", "forward"])
async def test_a_clock_that_is_set_changes_no_delay(
    world: World, by_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    world.failures = [Failed()]
    async with world.engine():
        await world.enqueue("a")
        await world.waits("a")
        world.clock.set_calendar(by_s)
        world.pass_time(30)
        await world.until(lambda: "the clock was set" in caplog.text)
        moved = await world.waits("a")
        assert len(world.attempted) == 1
        world.pass_time(30)
        done = await world.over("a")

    assert done.state is EventState.SUCCEEDED
    assert abs((moved.due - world.clock.now()).total_seconds()) < 1
    assert logging.WARNING in {each.levelno for each in caplog.records}


@pytest.mark.parametrize("by_s", [-86_400.0, 86_400.0], ids=["back", "forward"])
async def test_a_clock_that_is_set_while_an_event_is_kept_does_not_delay_it(
    world: World, by_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, gate = world.disk.put_event, asyncio.Event()

    async def slowly(event: Event, payload: bytes) -> int | None:
        position = await put(event, payload)
        await gate.wait()
        return position

    monkeypatch.setattr(world.disk, "put_event", slowly)
    async with world.engine() as queue:
        sending = asyncio.create_task(world.enqueue("a"))
        await world.until(lambda: bool(world.disk.all))
        world.clock.set_calendar(by_s)
        await queue.follow_clock()
        gate.set()
        await sending

        done = await world.over("a")

    assert done.state is EventState.SUCCEEDED
    assert abs((done.accepted - world.clock.now()).total_seconds()) < 1


async def test_a_clock_that_is_years_ahead_deletes_no_dead_letter(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LOOK_EVERY_S", 0.001)
    world.settings = Settings(is_switched_off=True)
    delete, looks = world.disk.delete_events, list[Any]()

    async def deleted(*args: Any, **fields: Any) -> Any:
        looks.append(fields["ended_before"])
        return await delete(*args, **fields)

    monkeypatch.setattr(world.disk, "delete_events", deleted)
    async with world.engine() as queue:
        await world.enqueue("a")
        await world.over("a")

        world.clock.set_calendar(5 * 365 * 86_400.0)
        queue.wake()
        await world.until(lambda: "the clock was set" in caplog.text)
        looks.clear()
        await world.until(lambda: len(looks) >= 2)

        assert (await world.event("a")).state is EventState.DEAD


async def test_a_clock_that_was_wrong_before_a_start_delays_no_more_than_a_retry(
    world: World,
) -> None:
    world.failures = [Failed()]
    async with world.engine():
        await world.enqueue("a")
        await world.waits("a")
    world.clock.set_calendar(-86_400.0)

    async with world.engine() as queue:
        # Until it was read: a day is too far off, and taken for the longest delay.
        now = world.clock.now().timestamp()
        await world.until(lambda: now < queue.lanes.wake_at() <= now + 300)
        world.pass_time(300)
        done = await world.over("a")

    assert done.state is EventState.SUCCEEDED


async def test_what_was_accepted_by_a_clock_that_was_wrong_runs_at_once_after_a_start(
    world: World,
) -> None:
    gate = world.hold("f")
    names = [f"e{number}" for number in range(3 * MAX_WINDOW)]
    async with world.engine(drain_s=0.0):
        for name in names:
            await world.enqueue(name)
    world.clock.set_calendar(-86_400.0)
    gate.set()

    async with world.engine():
        for name in names:
            done = await world.over(name)
            assert done.state is EventState.SUCCEEDED
            assert done.accepted <= world.clock.now()
