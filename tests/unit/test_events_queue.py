"""The queue of events: kept before it is said so, run, tried again, and over."""

import asyncio

import pytest

from sandlot_engine.errors import Internal, NotFound, Unavailable
from sandlot_engine.events.lanes import MAX_RUNNING_OF_LANE
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import AttemptStatus, Condition, Event, EventState
from sandlot_engine.store.event_ports import Settled
from tests.fakes.event_queue import Failed, World


@pytest.fixture
def world() -> World:
    return World()


async def test_an_event_runs_once_and_is_billed_once(world: World) -> None:
    async with world.engine():
        await world.enqueue("a")
        done = await world.over("a")

    assert (done.state, done.condition) == (EventState.SUCCEEDED, Condition.SUCCESS)
    assert world.attempted == ["a"]
    assert [each.request_id for each in world.records] == ["a"]


async def test_what_could_not_be_kept_is_not_accepted(world: World) -> None:
    async with world.engine() as queue:
        world.disk.failure = Unavailable("the disk is full")
        with pytest.raises(Unavailable, match="full"):
            await world.enqueue("a")
        world.disk.failure = None

        assert queue.depths.queued == 0
        assert world.disk.all == {}


async def test_a_caller_that_goes_away_leaves_a_whole_event(world: World) -> None:
    async with world.engine():
        sending = asyncio.create_task(world.enqueue("a"))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])

        done = await world.over("a")

    assert done.state is EventState.SUCCEEDED


async def test_a_request_id_that_is_there_is_that_event(world: World) -> None:
    async with world.engine() as queue:
        await world.enqueue("a")
        await world.enqueue("a")
        await world.over("a")

        assert (queue.counts["accepted"], queue.counts["repeated"]) == (1, 1)
        await world.until(lambda: queue.depths.queued == 0)

    assert world.attempted == ["a"]


async def test_a_failing_function_is_tried_three_times_with_one_id(
    world: World,
) -> None:
    world.failures = [Failed(), Failed(), Failed()]
    async with world.engine():
        await world.enqueue("a")
        first = await world.waits("a")
        world.pass_time(59)
        assert world.attempted == ["a"]
        world.pass_time(1)
        await world.until(lambda: len(world.attempted) == 2)
        second = await world.waits("a")
        world.pass_time(120)
        last = await world.over("a")

    assert (first.due - first.accepted).total_seconds() == 60
    assert (second.due - second.accepted).total_seconds() == 180
    assert world.attempted == ["a"] * 3
    assert (last.state, last.condition) == (
        EventState.DEAD,
        Condition.RETRIES_EXHAUSTED,
    )
    assert [each.status for each in last.attempts] == [AttemptStatus.ERROR] * 3
    assert len(world.records) == 3


async def test_an_operator_can_have_shorter_delays(world: World) -> None:
    world.failures = [Failed(), Failed(), Failed()]
    async with world.engine(delays_s=(0.5, 0.0)):
        await world.enqueue("a")
        first = await world.waits("a")
        world.pass_time(0.5)
        await world.over("a")

    assert (first.due - first.accepted).total_seconds() == 0.5
    assert len(world.attempted) == 3


async def test_a_throttled_function_is_tried_after_growing_pauses(
    world: World,
) -> None:
    world.refused = {"f"}
    async with world.engine():
        await world.enqueue("a")
        for tries, pause_s in enumerate([1, 2, 4, 8], start=1):
            await world.tried(tries)
            await world.waits("a")
            world.pass_time(pause_s - 0.25)
            await world.waits("a")
            world.refused = {"f"} if tries < 4 else set()
            world.pass_time(0.25)
        done = await world.over("a")

    assert (done.throttles, done.runs) == (4, 1)
    assert len(done.attempts) == 1


async def test_a_throttled_function_delays_nobody_else(world: World) -> None:
    world.refused = {"f"}
    async with world.engine():
        for number in range(200):
            await world.enqueue(f"a{number}")
        await world.enqueue("other", function="g")
        await world.enqueue("theirs", tenant="globex", function="g")

        assert (await world.over("other")).state is EventState.SUCCEEDED
        assert (await world.over("theirs", "globex")).state is EventState.SUCCEEDED

    # Its first were let through before it was known to be throttled.
    assert len(world.attempted) <= MAX_RUNNING_OF_LANE + 2


async def test_a_slow_function_delays_nobody_else(world: World) -> None:
    gate = world.hold("f")
    async with world.engine():
        for number in range(200):
            await world.enqueue(f"a{number}")
        await world.until(lambda: len(world.attempted) == MAX_RUNNING_OF_LANE)
        await world.enqueue("other", function="g")
        await world.enqueue("theirs", tenant="globex")
        world.held.clear()
        other = await world.over("other")

        assert other.state is EventState.SUCCEEDED
        assert len(world.attempted) >= MAX_RUNNING_OF_LANE + 1
        gate.set()
        for number in range(200):
            await world.over(f"a{number}")


async def test_one_that_is_throttled_for_too_long_is_dead(world: World) -> None:
    world.refused = {"f"}
    world.settings = Settings(max_age_s=60)
    async with world.engine():
        await world.enqueue("a")
        await world.waits("a")
        world.pass_time(61)
        last = await world.over("a")

    assert (last.condition, last.runs) == (Condition.AGE_EXCEEDED, 0)


async def test_a_function_that_is_switched_off_runs_nothing(world: World) -> None:
    world.settings = Settings(is_switched_off=True)
    async with world.engine():
        await world.enqueue("a")
        last = await world.over("a")

    assert (last.condition, world.attempted) == (Condition.ZERO_CONCURRENCY, [])


@pytest.mark.parametrize(
    "failure", [Internal("lost"), ValueError("unforeseen")], ids=["ours", "unforeseen"]
)
async def test_when_our_side_broke_it_is_tried_again(
    world: World, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.failures = [failure]
    async with world.engine():
        await world.enqueue("a")
        await world.waits("a")
        world.pass_time(1)
        done = await world.over("a")

    assert [each.status for each in done.attempts] == [
        AttemptStatus.SYSTEM_ERROR,
        AttemptStatus.OK,
    ]
    assert ("unforeseen" in caplog.text) is isinstance(failure, ValueError)


async def test_what_can_never_run_is_dead_at_once(world: World) -> None:
    world.failures = [NotFound("the function is gone")]
    async with world.engine():
        await world.enqueue("a")
        last = await world.over("a")

    assert (last.condition, last.reason) == (Condition.REFUSED, "the function is gone")


async def test_what_waits_is_run_by_the_next_engine(world: World) -> None:
    world.failures = [Failed()]
    async with world.engine():
        await world.enqueue("a")
        await world.waits("a")
    world.clock.advance(3_600)

    async with world.engine() as queue:
        done = await world.over("a")
        assert queue.depths.queued == 0

    assert (done.state, done.runs) == (EventState.SUCCEEDED, 2)


async def test_what_ran_when_the_engine_died_runs_again(world: World) -> None:
    async with world.engine():
        pass
    await world.disk.put_event(
        Event(
            request_id="a",
            tenant_id="acme",
            function="f",
            size=2,
            accepted=world.clock.now(),
            due=world.clock.now(),
        ),
        b"{}",
    )
    await world.disk.claim_events([1], now=world.clock.now())

    async with world.engine() as queue:
        done = await world.over("a")
        assert queue.counts["interrupted"] == 1

    assert [each.status for each in done.attempts] == [
        AttemptStatus.INTERRUPTED,
        AttemptStatus.OK,
    ]
    assert [each.is_billed for each in done.attempts] == [False, True]
    assert len(world.records) == 1


async def test_what_runs_when_the_engine_stops_is_billed_and_runs_again(
    world: World,
) -> None:
    world.hold("f")
    async with world.engine(drain_s=0.01):
        await world.enqueue("a")
        await world.until(lambda: bool(world.attempted))
    assert world.disk.all[1].state is EventState.QUEUED
    world.held.clear()

    async with world.engine():
        done = await world.over("a")

    assert [each.status for each in done.attempts] == [
        AttemptStatus.INTERRUPTED,
        AttemptStatus.OK,
    ]
    assert sum(each.is_billed for each in done.attempts) == len(world.records) == 2


async def test_leaving_finishes_what_runs_and_leaves_what_waits(world: World) -> None:
    gate = world.hold("f")
    async with world.engine():
        for number in range(MAX_RUNNING_OF_LANE + 5):
            await world.enqueue(str(number))
        await world.until(lambda: len(world.attempted) == MAX_RUNNING_OF_LANE)
        asyncio.get_running_loop().call_later(0.05, gate.set)

    states = [event.state for event in world.disk.all.values()]
    assert states.count(EventState.SUCCEEDED) == MAX_RUNNING_OF_LANE
    assert states.count(EventState.QUEUED) == 5


async def test_nothing_is_taken_after_the_end(world: World) -> None:
    async with world.engine():
        pass

    with pytest.raises(Unavailable, match="stopping"):
        await world.enqueue("late")


async def test_what_became_of_an_event_is_said_until_it_is_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gate = world.hold("f")
    async with world.engine():
        await world.enqueue("a")
        await world.until(lambda: bool(world.attempted))
        world.disk.failure = Unavailable("the disk is full")
        gate.set()
        await world.until(lambda: caplog.text.count("the disk is full") >= 3)
        world.disk.failure = None
        done = await world.over("a")

    assert (done.state, len(world.records)) == (EventState.SUCCEEDED, 1)
    assert world.attempted == ["a"]


async def test_what_became_of_an_event_is_said_once_more_at_the_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gate, pausing = world.hold("f"), asyncio.Event()

    async def pause(_: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    async with world.engine(drain_s=0.01, sleep=pause):
        await world.enqueue("a")
        await world.tried(1)
        world.disk.failure = Unavailable("the disk is full")
        gate.set()
        await pausing.wait()
        world.disk.failure = None

    assert world.disk.all[1].state is EventState.SUCCEEDED
    assert len(world.records) == 1
    assert caplog.text.count("the disk is full") == 1


async def test_an_end_waits_for_what_became_of_an_event_to_be_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, asked, is_over = world.disk.settle_event, asyncio.Event(), asyncio.Event()

    async def slowly(settled: Settled) -> bool:
        asked.set()
        await is_over.wait()
        return await keep(settled)

    monkeypatch.setattr(world.disk, "settle_event", slowly)
    async with world.engine(drain_s=0.01):
        await world.enqueue("a")
        await asked.wait()
        asyncio.get_running_loop().call_later(0.1, is_over.set)

    assert world.disk.all[1].state is EventState.SUCCEEDED
    assert len(world.records) == 1


async def test_events_that_cannot_be_claimed_are_tried_again(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_args: object, **_options: object) -> None:
        raise Unavailable("the disk is full")

    async with world.engine():
        with monkeypatch.context() as broken:
            broken.setattr(world.disk, "claim_events", fail)
            await world.enqueue("a")
            await world.until(lambda: "could not be claimed" in caplog.text)
        world.pass_time(1)

        assert (await world.over("a")).state is EventState.SUCCEEDED


async def test_who_waits_for_an_event_is_told_when_the_time_is_up(
    world: World,
) -> None:
    gate = world.hold("f")
    async with world.engine() as queue:
        await world.enqueue("a")
        await world.until(lambda: bool(world.attempted))

        event = await queue.wait("acme", "a", until=world.clock.monotonic() + 0.01)

        assert event.state is EventState.RUNNING
        gate.set()


async def test_an_event_is_its_tenants_own(world: World) -> None:
    async with world.engine() as queue:
        await world.enqueue("a")
        await world.over("a")

        with pytest.raises(NotFound):
            await queue.get("globex", "a")


async def test_a_tenant_that_was_deleted_leaves_no_count(world: World) -> None:
    gate = world.hold("f")
    async with world.engine() as queue:
        await world.enqueue("running")
        await world.enqueue("dead", function="g")
        await world.over("dead")
        await world.until(lambda: "running" in world.attempted)

        world.disk.forget_events("acme")
        queue.forget("acme")
        gate.set()
        await world.until(lambda: not queue.lanes.running)

        assert (queue.depths.queued, queue.depths.queued_bytes) == (0, 0)
        assert queue.depths.tenants == set()
        assert len(world.records) == 2


async def test_a_refused_event_is_its_callers_affair_and_not_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine():
        world.disk.failure = Unavailable("the disk is full")
        with pytest.raises(Unavailable):
            await world.enqueue("a")
        world.disk.failure = None

    assert caplog.records == []
