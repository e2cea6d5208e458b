"""One mapping's reader: what it asks, runs, deletes and leaves, with queue and function
that do as they are told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import NotFound, Throttled
from sandlot_engine.events.lineage import MAX_ROUNDS, continued
from sandlot_engine.model.mapping import Mapping
from sandlot_engine.polling.pace import EMPTY_S
from sandlot_engine.polling.queues import NoQueue, QueueTrouble
from sandlot_engine.polling.reader import Reader
from sandlot_engine.polling.settling import TRIES
from sandlot_engine.polling.sources import source_of
from sandlot_engine.polling.turns import Turns
from tests.fakes.polling import (
    TENANT,
    FakeFunction,
    FakeQueue,
    mapping_of,
    raw_of,
    until,
)

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
PARTIAL: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


class SettableClock(SystemClock):
    """Goes as the machine's, so many seconds before it."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class World:
    """A reader, and what it has to do with."""

    def __init__(self, mapping: Mapping, *bodies: str) -> None:
        self.mapping: Mapping | None = mapping
        self.queue = FakeQueue(*bodies)
        self.function = FakeFunction()
        self.reserved: dict[str, int] = {}
        self.clock = SettableClock()
        self.turns = Turns(2)
        self.counts: Counter[str] = Counter()
        self.reader = Reader(
            source_of(mapping, has_endpoint=True),
            mapping=lambda: self.mapping,
            readers=lambda: 1,
            queues=self.queue,
            turns=self.turns,
            invoker=self.function,
            reserved=lambda _: self.reserved,
            clock=self.clock,
            counts=self.counts,
        )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reader.run())
            try:
                yield
            finally:
                self.reader.stop()
                self.queue.filled.set()
                self.function.gate.set()
        assert self.reader.running == 0
        assert self.turns.held == 0


async def test_what_was_done_is_deleted() -> None:
    world = World(mapping_of(), *"abc")

    async with world.reading():
        await until(lambda: len(world.queue.deleted) == 3)

    assert world.function.batches == [["a", "b", "c"]]
    assert world.function.qualifiers == {"live"}
    assert world.reader.result == "OK"
    assert (world.counts["received"], world.counts["deleted"]) == (3, 3)


async def test_what_a_function_fails_with_is_left() -> None:
    world = World(mapping_of(), "a")
    world.function.answers.append("fails")

    async with world.reading():
        await until(lambda: world.counts["left"])

    assert world.queue.deleted == world.queue.released == []
    assert world.reader.result == "PROBLEM: Function call failed"
    assert world.counts["batches_failed"] == 1


async def test_only_what_did_not_fail_is_deleted() -> None:
    world = World(mapping_of(**PARTIAL), *"abc")
    world.function.answers.append({"batchItemFailures": [{"itemIdentifier": "b"}]})

    async with world.reading():
        await until(lambda: len(world.queue.deleted) == 2)

    assert sorted(world.queue.deleted) == ["a", "c"]
    assert world.counts["left"] == 1


async def test_a_throttled_batch_is_tried_again_with_all_its_messages() -> None:
    world = World(mapping_of(), *"ab")
    world.function.answers.append(_throttled())

    async with world.reading():
        await until(lambda: world.counts["throttled"])
        told = world.reader.result
        await until(lambda: len(world.queue.deleted) == 2)

    assert world.function.batches == [["a", "b"]] * 2
    assert told == "PROBLEM: too many at once"
    assert world.reader.result == "OK"


async def test_a_throttled_batch_is_let_go_when_its_messages_are_another_s() -> None:
    world = World(mapping_of(), "a")
    world.queue.hidden_s = 0.5
    world.function.answers.append(_throttled())

    async with world.reading():
        await until(lambda: world.counts["left"])

    assert world.function.batches == [["a"]]
    assert world.queue.deleted == []


async def test_a_stop_gives_back_what_is_not_begun_and_ends_what_is() -> None:
    mapping = replace(mapping_of(ScalingConfig={"MaximumConcurrency": 2}), batch_size=1)
    world = World(replace(mapping, batch_size=20, window_s=300), *"abc")
    running = World(mapping, "d")
    running.function.gate.clear()

    async with world.reading():
        await until(lambda: world.counts["received"] == 3)
    async with running.reading():
        await until(lambda: running.function.at_once)

    assert (world.queue.released, world.function.batches) == (list("abc"), [])
    assert world.counts["given_back"] == 3
    assert running.queue.deleted == ["d"]


async def test_a_stop_gives_back_what_is_throttled() -> None:
    world = World(mapping_of(), "a")
    world.function.answers.extend(_throttled() for _ in range(9))

    async with world.reading():
        await until(lambda: world.counts["throttled"])

    assert world.queue.released == ["a"]


async def test_no_more_batches_run_at_once_than_were_asked_for() -> None:
    mapping = replace(mapping_of(ScalingConfig={"MaximumConcurrency": 2}), batch_size=1)
    world = World(mapping, *"abcdef")
    world.function.gate.clear()

    async with world.reading():
        await until(lambda: world.function.at_once == 2)
        polls = world.queue.polls
        world.function.gate.set()
        await until(lambda: len(world.queue.deleted) == 6)

    assert world.function.most_at_once == 2
    assert polls == 2  # what cannot run is left to others


async def test_of_a_queue_with_groups_one_batch_runs_at_a_time_in_order() -> None:
    world = World(mapping_of("jobs.fifo"), *"abcdefghijklmno")

    async with world.reading():
        await until(lambda: len(world.queue.deleted) == 15)

    assert world.function.most_at_once == 1
    assert [body for batch in world.function.batches for body in batch] == list(
        "abcdefghijklmno"
    )


async def test_after_a_failure_in_a_group_what_came_behind_it_is_given_back() -> None:
    # Two that do not fit into one event.
    first, second = "a" * 4_000_000, "b" * 4_000_000
    world = World(mapping_of("jobs.fifo"), first, second)
    world.function.answers.append("fails")

    async with world.reading():
        await until(lambda: world.queue.released)

    assert world.function.batches == [[first]]
    assert world.queue.released == [second]
    assert world.queue.deleted == []


async def test_a_queue_that_does_not_wait_is_not_asked_all_the_time() -> None:
    world = World(mapping_of())
    world.queue.waits = False
    began = asyncio.get_running_loop().time()

    async with world.reading():
        await until(lambda: world.queue.polls == 2)

    assert asyncio.get_running_loop().time() - began >= EMPTY_S


async def test_what_no_pattern_chooses_is_deleted_and_counted() -> None:
    pattern = json.dumps({"body": ["b"]})
    criteria = {"Filters": [{"Pattern": pattern}]}
    world = World(mapping_of(FilterCriteria=criteria), *"abc")

    async with world.reading():
        await until(lambda: len(world.queue.deleted) == 3)

    assert world.function.batches == [["b"]]
    assert world.counts["filtered"] == 2


async def test_a_queue_that_cannot_be_read_is_asked_again_and_told_of() -> None:
    world = World(mapping_of(), "a")
    world.queue.troubles.append(QueueTrouble("it is down"))

    async with world.reading():
        await until(lambda: world.counts["problems"])
        told = world.reader.result
        await until(lambda: world.queue.deleted)

    assert told == "PROBLEM: the queue could not be read. it is down"
    assert world.reader.result == "OK"


async def test_a_batch_that_is_here_does_not_wait_for_a_queue_that_fails() -> None:
    mapping = replace(mapping_of(), batch_size=20, window_s=1)
    world = World(mapping, "a")

    async with world.reading():
        await until(lambda: world.counts["received"])
        world.queue.troubles.extend(QueueTrouble("it is down") for _ in range(99))
        await until(lambda: world.queue.deleted)

    assert world.function.batches == [["a"]]


async def test_what_waited_for_room_until_it_was_another_s_is_not_run() -> None:
    world = World(mapping_of(), "a")
    world.function.gate.clear()

    async with world.reading():
        await until(lambda: world.function.at_once == 1 and world.queue.polls == 2)
        world.mapping = mapping_of(ScalingConfig={"MaximumConcurrency": 1})
        world.queue.bodies.append("b")
        world.queue.filled.set()
        await until(lambda: world.counts["received"] == 2)
        world.clock.ahead_s = world.queue.hidden_s
        world.function.gate.set()
        await until(lambda: world.counts["left"])

    assert world.function.batches == [["a"]]
    assert world.queue.deleted == ["a"]


async def test_a_queue_that_is_not_there_is_told_of() -> None:
    world = World(mapping_of())
    world.queue.troubles.append(NoQueue("none"))

    async with world.reading():
        await until(lambda: world.counts["problems"])

    assert world.reader.result == "PROBLEM: the queue is not there. none"


async def test_what_is_no_answer_of_a_queue_s_is_told_of() -> None:
    world = World(mapping_of(), "a")
    world.queue.raw = lambda _: {}

    async with world.reading():
        await until(lambda: world.counts["problems"])

    assert "as SQS has them" in world.reader.result


async def test_messages_of_a_function_that_is_gone_stay_in_their_queue() -> None:
    world = World(mapping_of(), "a")
    world.function.missing = NotFound("Function not found: f")

    async with world.reading():
        await until(lambda: world.counts["problems"])

    assert world.queue.polls == 0
    assert world.reader.result == "PROBLEM: Function not found: f"


async def test_messages_of_a_function_that_is_switched_off_stay_in_their_queue() -> (
    None
):
    world = World(mapping_of(), "a")
    world.reserved = {"f": 0}

    async with world.reading():
        await until(lambda: world.counts["problems"])

    assert world.queue.polls == 0
    assert "its reserved concurrency is 0" in world.reader.result


async def test_a_deletion_that_fails_is_tried_again() -> None:
    world = World(mapping_of(), "a")
    world.queue.delete_troubles.append(QueueTrouble("busy"))

    async with world.reading():
        await until(lambda: world.queue.deleted)

    assert world.counts["deleted"] == 1


async def test_a_message_that_cannot_be_deleted_is_told_of() -> None:
    world = World(mapping_of(), *"ab")
    world.queue.kept.add("a")

    async with world.reading():
        await until(lambda: world.counts["not_deleted"])

    assert world.queue.deleted == ["b"]
    assert "were not deleted" in world.reader.result
    assert TRIES == 3


async def test_a_message_that_has_been_round_too_often_is_left() -> None:
    world = World(mapping_of(), *"abc")
    world.queue.raw = _sent_by(b=MAX_ROUNDS, c=MAX_ROUNDS - 1)

    async with world.reading():
        await until(lambda: len(world.queue.deleted) == 2)

    assert world.function.batches == [["a", "b", "c"], ["a", "c"]]
    assert sorted(world.queue.deleted) == ["a", "c"]
    assert world.counts["left"] == 1
    assert world.reader.result == "PROBLEM: a loop"
    assert f":{MAX_ROUNDS}" in world.function.trace_ids[-1]


async def test_in_order_nothing_goes_before_a_message_of_a_loop() -> None:
    world = World(mapping_of("jobs.fifo"), *"ab")
    world.queue.raw = _sent_by(a=MAX_ROUNDS)

    async with world.reading():
        await until(lambda: world.counts["left"])

    assert world.queue.deleted == []
    assert world.counts["left"] == 2


async def test_a_message_s_trace_goes_on() -> None:
    world = World(mapping_of(), "a")
    world.queue.raw = _sent_by(a=1)

    async with world.reading():
        await until(lambda: world.queue.deleted)

    [trace_id] = world.function.trace_ids
    assert trace_id.startswith(f"{ROOT};Parent=")
    assert trace_id.endswith(f"Lineage={continued(_led(1), TENANT, 'f')}")


async def test_what_is_not_wanted_any_more_is_not_read() -> None:
    world = World(mapping_of(), "a")
    world.mapping = None

    async with asyncio.timeout(10):
        await world.reader.run()

    assert world.queue.polls == 0


def _led(rounds: int) -> str:
    """The lineage of what the function has led to so often."""
    lineage = ""
    for _ in range(rounds):
        lineage = continued(lineage, TENANT, "f")
    return lineage


def _sent_by(**rounds: int) -> Callable[[str], dict[str, Any]]:
    def raw(body: str) -> dict[str, Any]:
        if body not in rounds:
            return raw_of(body)
        header = f"{ROOT};Lineage={_led(rounds[body])}"
        return {**raw_of(body), "Attributes": {"AWSTraceHeader": header}}

    return raw


def _throttled() -> Throttled:
    return Throttled("too many at once", reason="r", limit=1, retry_after_s=1.0)
