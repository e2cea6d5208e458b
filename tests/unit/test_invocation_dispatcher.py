"""The queue of events: its bounds, its patience, and its end."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sandlot_engine.errors import Internal, NotFound, Throttled, Unavailable
from sandlot_engine.invocation import dispatcher as module
from sandlot_engine.invocation.dispatcher import MAX_AGE_S, WORKERS, Dispatcher
from sandlot_engine.model.invocation import Invocation, InvocationType
from tests.fakes.runner import FakeClock

THROTTLED = Throttled("full", reason="r", limit=1, retry_after_s=1)


class World:
    """A dispatcher whose attempts and pauses a test scripts."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.failures: list[Exception] = []
        self.attempted: list[str] = []
        self.pauses: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.dispatcher = Dispatcher(
            self._attempt, self.clock, sleep=self._sleep, **options
        )

    async def _attempt(self, event: Invocation) -> None:
        self.attempted.append(event.request_id)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    def enqueue(self, name: str, *, tenant: str = "acme", size: int = 2) -> None:
        self.dispatcher.enqueue(
            Invocation(
                request_id=name,
                tenant_id=tenant,
                function="f",
                payload=b" " * size,
                type=InvocationType.EVENT,
                arrived=self.clock.monotonic(),
            )
        )

    async def idle(self) -> None:
        await until(lambda: not self.dispatcher.left)


async def until(is_true: Callable[[], bool]) -> None:
    while not is_true():  # noqa: ASYNC110 - what is awaited tells nobody
        await asyncio.sleep(0)


async def test_an_event_is_attempted_once() -> None:
    world = World()

    async with world.dispatcher:
        world.enqueue("a")

    assert (world.attempted, world.dispatcher.left) == (["a"], ())


async def test_a_throttled_event_waits_longer_each_time() -> None:
    world = World()
    world.failures = [THROTTLED, Unavailable("u"), THROTTLED]

    async with world.dispatcher:
        world.enqueue("a")
        await world.idle()

    assert world.attempted == ["a"] * 4
    assert world.pauses == [1.0, 2.0, 4.0]
    assert world.dispatcher.dropped == 0


async def test_a_throttled_event_is_given_up_when_it_is_too_old() -> None:
    world = World()
    world.failures = [THROTTLED] * 1_000

    async with world.dispatcher:
        world.enqueue("a")
        await world.idle()

    assert world.dispatcher.dropped == 1
    assert max(world.pauses) == 300.0
    assert MAX_AGE_S - 300.0 < sum(world.pauses) <= MAX_AGE_S


@pytest.mark.parametrize(
    "failure",
    [NotFound("deleted"), Internal("lost"), ValueError("unforeseen")],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_may_have_run_or_never_can_is_not_tried_again(
    failure: Exception,
) -> None:
    world = World()
    world.failures = [failure]

    async with world.dispatcher:
        world.enqueue("a")
        world.enqueue("b")
        await world.idle()

    assert (world.attempted, world.dispatcher.dropped) == (["a", "b"], 1)


async def test_a_tenant_has_only_so_many_events_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    world = World()
    async with world.dispatcher:
        for number in range(3):
            world.enqueue(str(number))

        with pytest.raises(Throttled, match="3 events waiting of 3 allowed"):
            world.enqueue("too many")
        world.enqueue("another's", tenant="globex")

    assert "too many" not in world.attempted
    assert "another's" in world.attempted


@pytest.mark.parametrize("bound", ["MAX_QUEUED_BYTES", "MAX_ALL_QUEUED_BYTES"])
async def test_events_have_only_so_many_bytes(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(module, bound, 10)
    world = World()
    async with world.dispatcher:
        world.enqueue("a", size=6)

        with pytest.raises(Throttled, match="6 bytes of events waiting of 10 allowed"):
            world.enqueue("b", size=5)
        await world.idle()
        world.enqueue("c", size=10)

    assert world.attempted == ["a", "c"]


async def test_one_tenants_flood_does_not_delay_another() -> None:
    world = World()
    world.gate.clear()
    async with world.dispatcher:
        for number in range(WORKERS + 10):
            world.enqueue(f"flood-{number}")

        world.enqueue("another's", tenant="globex")
        await until(lambda: "another's" in world.attempted)

        assert len(world.attempted) == WORKERS + 1
        world.gate.set()


async def test_leaving_finishes_what_waits() -> None:
    world = World()
    async with world.dispatcher:
        for number in range(2 * WORKERS):
            world.enqueue(str(number))

    assert len(world.attempted) == 2 * WORKERS
    assert world.dispatcher.left == ()


async def test_what_is_not_finished_in_time_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(drain_s=0.01)
    world.gate.clear()
    async with world.dispatcher:
        world.enqueue("a")
        await until(lambda: bool(world.attempted))

    assert [event.request_id for event in world.dispatcher.left] == ["a"]
    assert [record.__dict__["request_id"] for record in caplog.records] == ["a"]


async def test_nothing_is_taken_after_the_end() -> None:
    world = World()
    async with world.dispatcher:
        pass

    with pytest.raises(Unavailable):
        world.enqueue("late")
