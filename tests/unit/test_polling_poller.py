"""All mappings: which are read, since when and until when, and what is told of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.mappings import Mappings, kept_mappings
from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.mapping import Mapping
from sandlot_engine.polling.poller import NOBODY, Poller, State
from sandlot_engine.polling.queues import NoQueue, QueueTrouble
from sandlot_engine.polling.turns import TURNS
from tests.fakes.backend import ACME
from tests.fakes.functions import FakeFunctions, make_function
from tests.fakes.polling import FakeFunction, FakeQueue, until
from tests.fakes.stores import MemoryStore

QUEUE = f"arn:aws:sqs:us-east-1:{ACME}:jobs"
OTHERS = "arn:aws:sqs:us-east-1:999999999999:jobs"


class World:
    """A poller, and what it has to do with."""

    def __init__(self, *, drain_s: float = 10.0) -> None:
        self.store = MemoryStore()
        self.queue = FakeQueue()
        self.function = FakeFunction()
        self.drain_s = drain_s
        self.begin()

    def begin(self) -> None:
        """As after a restart."""
        functions = FakeFunctions()
        for name in ("echo", "slow"):
            functions.add(make_function(ACME, name))
        clock = SystemClock()
        self.kept: Kept[Mapping] = kept_mappings(self.store)
        self.mappings = Mappings(self.kept, cast("Any", functions), clock=clock)
        self.poller = Poller(
            *(self.mappings, self.queue, self.function),
            reserved=lambda _: {},
            clock=clock,
            drain_s=self.drain_s,
        )

    async def create(self, arn: str = QUEUE, **more: Any) -> Mapping:
        return await self.mappings.create(
            *(ACME, arn, more.pop("function", "echo")), details={}, tags={}, **more
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(30), self.poller.running():
            yield
            self.queue.waits = False  # or leaving waits for what was asked
            self.queue.filled.set()
        assert self.reading == 0

    @property
    def reading(self) -> float:
        return self.poller.gauges["source_mappings"][1]()

    def fill(self, *bodies: str) -> None:
        self.queue.bodies.extend(bodies)
        self.queue.filled.set()

    def state(self, mapping: Mapping) -> State:
        return self.poller.progress(self.mappings.get(ACME, mapping.uuid)).state


async def test_a_mapping_is_read_from_when_it_is_made_until_it_is_deleted() -> None:
    world = World()

    async with world.running():
        mapping = await world.create()
        state = world.state(mapping)
        world.fill("a")
        await until(lambda: world.queue.deleted)
        await world.mappings.delete(ACME, mapping.uuid)
        world.queue.filled.set()
        await until(lambda: world.reading == 0)

    assert state is State.ENABLED
    assert world.queue.deleted == ["a"]


async def test_what_was_wanted_before_a_restart_is_read_after_it() -> None:
    world = World()
    await world.create()
    unwanted = await world.create(function="slow", is_wanted=False)
    world.begin()
    await world.kept.load()

    async with world.running():
        world.fill("a")
        await until(lambda: world.queue.deleted)
        reading = world.reading

    assert reading == 1
    assert world.state(unwanted) is State.DISABLED


async def test_a_mapping_is_disabled_when_its_batches_are_over() -> None:
    world = World()
    world.function.gate.clear()

    async with world.running():
        mapping = await world.create()
        world.fill("a")
        await until(lambda: world.function.at_once)
        await world.mappings.update(ACME, mapping.uuid, is_wanted=False, details={})
        during = world.state(mapping)
        world.queue.filled.set()
        world.function.gate.set()
        await until(lambda: world.state(mapping) is State.DISABLED)

    assert during is State.DISABLING
    assert world.queue.deleted == ["a"]


async def test_a_mapping_that_is_wanted_again_before_its_end_is_read_again() -> None:
    world = World()
    world.function.gate.clear()

    async with world.running():
        mapping = await world.create()
        world.fill("a")
        await until(lambda: world.function.at_once)
        for is_wanted in (False, True):
            await world.mappings.update(
                ACME, mapping.uuid, is_wanted=is_wanted, details={}
            )
        world.queue.filled.set()
        world.function.gate.set()
        await until(lambda: world.queue.deleted)
        world.fill("b")
        await until(lambda: len(world.queue.deleted) == 2)

    assert world.state(mapping) is State.ENABLED


async def test_a_stop_waits_for_batches_no_longer_than_it_may() -> None:
    world = World(drain_s=0.05)
    world.function.gate.clear()

    async with world.running():
        await world.create()
        world.fill("a")
        await until(lambda: world.function.at_once)

    assert world.function.at_once == 0
    assert world.queue.deleted == []


async def test_what_goes_wrong_with_one_mapping_is_not_the_others_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("unforeseen")

    world = World()
    monkeypatch.setattr(world.queue, "release", breaks)

    async with world.running():
        broken = await world.create(batch_size=20, window_s=300)
        world.fill("a")
        await until(lambda: world.poller.gauges["source_bytes_held"][1]())
        await world.mappings.delete(ACME, broken.uuid)
        world.queue.filled.set()
        await until(lambda: world.reading == 0)
        await world.create()
        world.fill("b")
        await until(lambda: world.queue.deleted == ["b"])


async def test_hundreds_of_mappings_share_the_turns_that_there_are() -> None:
    world = World()
    for number in range(5 * TURNS):
        await world.create(f"{QUEUE}-{number}")

    async with world.running():
        await until(lambda: world.queue.at_once == TURNS)
        reading = world.reading
        world.queue.waits = False
        world.queue.filled.set()
        await until(lambda: world.queue.polls > 5 * TURNS)

    assert reading == 5 * TURNS
    assert world.queue.most_at_once == TURNS


@pytest.mark.parametrize(
    ("arn", "has_endpoint", "why"),
    [
        (OTHERS, True, "another account"),
        (QUEUE, False, "--destination sqs=URL"),
    ],
)
async def test_what_is_not_read_is_disabled_and_says_why(
    arn: str, why: str, *, has_endpoint: bool
) -> None:
    world = World()
    world.queue.has_endpoint = has_endpoint

    async with world.running():
        told = world.poller.progress(await world.create(arn))
        reading = world.reading

    assert reading == 0
    assert (told.state, told.is_read) == (State.DISABLED, False)
    assert why in told.reason


async def test_nobody_reads_where_there_is_no_poller() -> None:
    mapping = await World().create()

    told = NOBODY.progress(mapping)
    await NOBODY.check(ACME, QUEUE, timeout_s=900)

    assert (told.state, told.is_read) == (State.DISABLED, False)


async def test_a_function_that_may_outlast_its_messages_is_refused() -> None:
    world = World()
    world.queue.hidden_s = 30.0

    await world.poller.check(ACME, QUEUE, timeout_s=30)
    with pytest.raises(InvalidParameter) as caught:
        await world.poller.check(ACME, QUEUE, timeout_s=60)

    assert caught.value.message == (
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"
    )


@pytest.mark.parametrize("arn", [OTHERS, "arn:aws:kinesis:us-east-1:1:stream/s"])
async def test_what_would_not_be_read_is_not_asked_for(arn: str) -> None:
    world = World()
    world.queue.troubles.append(NoQueue("none"))

    await world.poller.check(ACME, arn, timeout_s=900)


async def test_a_queue_that_is_not_there_is_refused_in_aws_s_words() -> None:
    world = World()
    world.queue.hidden_trouble = NoQueue("SQS Error Code: none.")

    with pytest.raises(InvalidParameter, match="Error occurred while ReceiveMessage"):
        await world.poller.check(ACME, QUEUE, timeout_s=3)


async def test_an_endpoint_that_does_not_answer_refuses_no_mapping() -> None:
    world = World()
    world.queue.hidden_trouble = QueueTrouble("it is down")

    await world.poller.check(ACME, QUEUE, timeout_s=3)


async def test_all_that_is_counted_is_told() -> None:
    world = World()

    async with world.running():
        await world.create()
        world.fill("a")
        await until(lambda: world.queue.deleted)

    told = {name: read() for name, (_, read) in world.poller.counters.items()}
    assert told["source_received"] == told["source_deleted"] == 1
    assert told["source_batches"] == 1
    assert told["source_turns_refused"] == 0
