"""The queue of events: kept before it is said so, run, tried again, and over."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sandlot_engine.errors import (
    Internal,
    NotFound,
    Throttled,
    Unavailable,
)
from sandlot_engine.events import depths as depths_module
from sandlot_engine.events import keeping
from sandlot_engine.events.lanes import MAX_RUNNING_OF_LANE, MAX_WINDOW
from sandlot_engine.events.queue import EventQueue
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import AttemptStatus, Condition, Event, EventState
from sandlot_engine.model.invocation import (
    Invocation,
    InvocationType,
    Outcome,
    Record,
    Report,
    Status,
)
from tests.fakes.events import MemoryEvents
from tests.fakes.runner import FakeClock

THROTTLED = Throttled("full", reason="r", limit=1, retry_after_s=1)
DEADLINE_S = 20.0
REPORT = Report(
    duration_ms=1,
    init_ms=None,
    wait_ms=0,
    billed_ms=1,
    memory_mb=128,
    max_memory_used_mb=30,
)


class World:
    """Engines one after the other over one disk, whose attempts a test scripts."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.disk = MemoryEvents()
        self.records: list[Record] = []
        self.disk.keep_records(self.records.append)
        self.failures: list[Exception] = []
        self.refused: set[str] = set()
        """Functions for which there is no room."""
        self.held: dict[str, asyncio.Event] = {}
        self.attempted: list[str] = []
        self.settings = Settings()
        self.queue: EventQueue

    @asynccontextmanager
    async def engine(self, **options: Any) -> AsyncIterator[EventQueue]:
        given: dict[str, Any] = {
            "settings_of": lambda _: self.settings,
            "drain_s": 1.0,
        } | options
        self.queue = EventQueue(
            self.disk, self._attempt, clock=self.clock, sleep=self._sleep, **given
        )
        async with self.queue:
            yield self.queue

    async def _attempt(
        self, event: Invocation, keep: Callable[[Record], None]
    ) -> Outcome:
        self.attempted.append(event.request_id)
        if event.function in self.refused:
            raise THROTTLED
        record = Record(
            request_id=event.request_id,
            tenant_id=event.tenant_id,
            function=event.function,
            version="$LATEST",
            time=self.clock.now(),
            status=Status.OK,
            error_type="",
            report=REPORT,
        )
        if (gate := self.held.get(event.function)) is not None:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                keep(record)
                raise
        if self.failures:
            failure = self.failures.pop(0)
            if not isinstance(failure, Failed):
                raise failure
            keep(record)
            return _outcome(event, Status.ERROR)
        keep(record)
        return _outcome(event, Status.OK)

    async def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def hold(self, function: str = "f") -> asyncio.Event:
        self.held[function] = asyncio.Event()
        return self.held[function]

    async def enqueue(
        self, name: str, *, tenant: str = "acme", function: str = "f", size: int = 2
    ) -> None:
        await self.queue.enqueue(
            Invocation(
                request_id=name,
                tenant_id=tenant,
                function=function,
                payload=b"1".rjust(size),
                type=InvocationType.EVENT,
                arrived=self.clock.monotonic(),
            )
        )

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.queue.wake()

    async def event(self, name: str, tenant: str = "acme") -> Event:
        return await self.queue.get(tenant, name)

    async def over(self, name: str, tenant: str = "acme") -> Event:
        async with asyncio.timeout(DEADLINE_S):
            return await self.queue.wait(
                tenant, name, until=self.clock.monotonic() + DEADLINE_S
            )

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not is_true():  # noqa: ASYNC110 - what is awaited tells nobody
                await asyncio.sleep(0)

    async def tried(self, times: int) -> None:
        await self.until(lambda: len(self.attempted) == times)

    async def waits(self, name: str) -> Event:
        """The event when it waits for its next try."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = await self.event(name)
                if event.state is EventState.QUEUED and not self.queue.lanes.running:
                    return event
                await asyncio.sleep(0)


class Failed(Exception):
    """The function fails, which is a value."""


def _outcome(event: Invocation, status: Status) -> Outcome:
    return Outcome(
        request_id=event.request_id,
        status=status,
        payload=b'{"errorMessage":"boom"}' if status is Status.ERROR else b"1",
        executed_version="$LATEST",
        report=REPORT,
    )


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
        assert queue.depths.queued == 0

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


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [
        ("MAX_QUEUED", 2, "2 events waiting of 2 allowed"),
        ("MAX_QUEUED_BYTES", 13, "12 bytes of events waiting of 13 allowed"),
        ("MAX_ALL_QUEUED_BYTES", 13, "the engine already has 12 bytes of events"),
    ],
)
async def test_a_tenants_events_have_bounds(
    world: World, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, says: str
) -> None:
    monkeypatch.setattr(depths_module, bound, value)
    gate = world.hold("f")
    async with world.engine():
        await world.enqueue("a", size=6)
        await world.enqueue("b", size=6)

        with pytest.raises(Throttled, match=says):
            await world.enqueue("c", size=6)
        await world.enqueue("theirs", tenant="globex", size=1)
        gate.set()
        await world.over("a")
        await world.over("b")
        await world.enqueue("c", size=6)
        await world.over("c")


async def test_what_is_over_is_kept_as_far_as_its_bounds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depths_module, "MAX_ENDED", 8)
    async with world.engine() as queue:
        for number in range(30):
            await world.enqueue(str(number))
            await world.until(lambda: not queue.depths.queued)
        await world.until(lambda: len(world.disk.all) <= 8)

        with pytest.raises(NotFound, match="over too long ago"):
            await world.event("0")
        assert (await world.event("29")).state is EventState.SUCCEEDED


async def test_dead_letters_are_bounded_and_what_goes_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depths_module, "MAX_DEAD_BYTES", 10)
    world.settings = Settings(is_switched_off=True)
    async with world.engine() as queue:
        for number in range(4):
            await world.enqueue(str(number), size=4)
            await world.until(lambda: not queue.depths.queued)
        await world.until(lambda: queue.counts["dead_dropped"] == 2)

        assert [e.request_id for e in world.disk.all.values()] == ["2", "3"]


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
