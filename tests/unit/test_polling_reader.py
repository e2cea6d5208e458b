"""One mapping's reader: what it asks, runs, deletes and leaves, with queue and function
that do as they are told."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import NotFound, SandlotError, Throttled
from sandlot_engine.model.invocation import Invocation, Outcome, Report, Status
from sandlot_engine.model.mapping import Mapping, SourceKind
from sandlot_engine.polling.pace import EMPTY_S
from sandlot_engine.polling.queues import NoQueue, QueueTrouble
from sandlot_engine.polling.reader import Raw, Reader, Sorted
from sandlot_engine.polling.settling import TRIES
from sandlot_engine.polling.sources import Source, source_of
from sandlot_engine.polling.turns import Turns
from tests.fakes.things import NOON

TENANT = "123456789012"
PARTIAL: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def mapping_of(queue: str = "jobs", **details: Any) -> Mapping:
    return Mapping(
        tenant_id=TENANT,
        uuid="u",
        source_arn=f"arn:aws:sqs:us-east-1:{TENANT}:{queue}",
        kind=SourceKind.SQS,
        function="f",
        qualifier="live",
        batch_size=10,
        details=details,
        last_modified=NOON,
    )


class FakeQueue:
    """Gives what it has, up to what is asked for, and waits where it has nothing."""

    def __init__(self, *bodies: str) -> None:
        self.bodies = deque(bodies)
        self.troubles: deque[QueueTrouble] = deque()
        self.delete_troubles: deque[QueueTrouble] = deque()
        self.hidden_s = 30.0
        self.polls = 0
        self.deleted: list[str] = []
        self.released: list[str] = []
        self.kept: set[str] = set()
        """What it does not delete."""

        self.waits = True
        """As SQS does, for messages to come."""

        self.filled = asyncio.Event()

    async def receive(
        self, source: Source, *, count: int, wait_s: int, read: Callable[[Raw], Sorted]
    ) -> Sorted:
        self.polls += 1
        if self.troubles:
            raise self.troubles.popleft()
        if not self.bodies and self.waits:
            self.filled.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self.filled.wait()
            except TimeoutError:
                pass
        bodies = [self.bodies.popleft() for _ in range(min(count, len(self.bodies)))]
        return read([_raw(body) for body in bodies])

    async def delete(self, source: Source, handles: Sequence[str]) -> list[str]:
        if self.delete_troubles:
            raise self.delete_troubles.popleft()
        self.deleted += [handle for handle in handles if handle not in self.kept]
        return [handle for handle in handles if handle in self.kept]

    async def release(self, source: Source, handles: Sequence[str]) -> None:
        self.released += handles

    async def visibility_s(self, source: Source) -> float:
        return self.hidden_s


def _raw(body: str) -> dict[str, Any]:
    return {"MessageId": body, "ReceiptHandle": body, "Body": body}


class FakeFunction:
    """Answers what `answers` has, and then null; `gate` holds what runs."""

    def __init__(self) -> None:
        self.answers: deque[object] = deque()
        self.missing: SandlotError | None = None
        self.batches: list[list[str]] = []
        self.qualifiers: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0

    async def dry_run(self, invocation: Invocation) -> None:
        if self.missing is not None:
            raise self.missing

    async def invoke(self, invocation: Invocation, deadline: float | None) -> Outcome:
        records = json.loads(invocation.payload)["Records"]
        self.batches.append([record["body"] for record in records])
        self.qualifiers.add(invocation.qualifier)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, SandlotError):
            raise answer
        failed = answer == "fails"
        return Outcome(
            request_id=invocation.request_id,
            status=Status.ERROR if failed else Status.OK,
            payload=json.dumps(answer).encode(),
            executed_version="1",
            report=Report(
                duration_ms=1.0,
                init_ms=None,
                wait_ms=0.0,
                billed_ms=1,
                memory_mb=128,
                max_memory_used_mb=30,
            ),
        )


class World:
    """A reader, and what it has to do with."""

    def __init__(self, mapping: Mapping, *bodies: str) -> None:
        self.mapping: Mapping | None = mapping
        self.queue = FakeQueue(*bodies)
        self.function = FakeFunction()
        self.turns = Turns(2)
        self.counts: Counter[str] = Counter()
        self.reader = Reader(
            source_of(mapping, has_endpoint=True),
            mapping=lambda: self.mapping,
            readers=lambda: 1,
            queues=self.queue,
            turns=self.turns,
            invoker=self.function,
            clock=SystemClock(),
            counts=self.counts,
        )

    async def until(self, seen: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not seen():  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0.002)

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
        await world.until(lambda: len(world.queue.deleted) == 3)

    assert world.function.batches == [["a", "b", "c"]]
    assert world.function.qualifiers == {"live"}
    assert world.reader.result == "OK"
    assert (world.counts["received"], world.counts["deleted"]) == (3, 3)


async def test_what_a_function_fails_with_is_left() -> None:
    world = World(mapping_of(), "a")
    world.function.answers.append("fails")

    async with world.reading():
        await world.until(lambda: world.counts["left"])

    assert world.queue.deleted == world.queue.released == []
    assert world.reader.result == "PROBLEM: Function call failed"
    assert world.counts["batches_failed"] == 1


async def test_only_what_did_not_fail_is_deleted() -> None:
    world = World(mapping_of(**PARTIAL), *"abc")
    world.function.answers.append({"batchItemFailures": [{"itemIdentifier": "b"}]})

    async with world.reading():
        await world.until(lambda: len(world.queue.deleted) == 2)

    assert sorted(world.queue.deleted) == ["a", "c"]
    assert world.counts["left"] == 1


async def test_a_throttled_batch_is_tried_again_with_all_its_messages() -> None:
    world = World(mapping_of(), *"ab")
    world.function.answers.append(_throttled())

    async with world.reading():
        await world.until(lambda: world.counts["throttled"])
        told = world.reader.result
        await world.until(lambda: len(world.queue.deleted) == 2)

    assert world.function.batches == [["a", "b"]] * 2
    assert told == "PROBLEM: too many at once"
    assert world.reader.result == "OK"


async def test_a_throttled_batch_is_let_go_when_its_messages_are_another_s() -> None:
    world = World(mapping_of(), "a")
    world.queue.hidden_s = 0.5
    world.function.answers.append(_throttled())

    async with world.reading():
        await world.until(lambda: world.counts["left"])

    assert world.function.batches == [["a"]]
    assert world.queue.deleted == []


async def test_a_stop_gives_back_what_is_not_begun_and_ends_what_is() -> None:
    mapping = replace(mapping_of(ScalingConfig={"MaximumConcurrency": 2}), batch_size=1)
    world = World(replace(mapping, batch_size=20, window_s=300), *"abc")
    running = World(mapping, "d")
    running.function.gate.clear()

    async with world.reading():
        await world.until(lambda: world.counts["received"] == 3)
    async with running.reading():
        await running.until(lambda: running.function.at_once)

    assert (world.queue.released, world.function.batches) == (list("abc"), [])
    assert world.counts["given_back"] == 3
    assert running.queue.deleted == ["d"]


async def test_a_stop_gives_back_what_is_throttled() -> None:
    world = World(mapping_of(), "a")
    world.function.answers.extend(_throttled() for _ in range(9))

    async with world.reading():
        await world.until(lambda: world.counts["throttled"])

    assert world.queue.released == ["a"]


async def test_no_more_batches_run_at_once_than_were_asked_for() -> None:
    mapping = replace(mapping_of(ScalingConfig={"MaximumConcurrency": 2}), batch_size=1)
    world = World(mapping, *"abcdef")
    world.function.gate.clear()

    async with world.reading():
        await world.until(lambda: world.function.at_once == 2)
        polls = world.queue.polls
        world.function.gate.set()
        await world.until(lambda: len(world.queue.deleted) == 6)

    assert world.function.most_at_once == 2
    assert polls == 2  # what cannot run is left to others


async def test_of_a_queue_with_groups_one_batch_runs_at_a_time_in_order() -> None:
    world = World(mapping_of("jobs.fifo"), *"abcdefghijklmno")

    async with world.reading():
        await world.until(lambda: len(world.queue.deleted) == 15)

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
        await world.until(lambda: world.queue.released)

    assert world.function.batches == [[first]]
    assert world.queue.released == [second]
    assert world.queue.deleted == []


async def test_a_queue_that_does_not_wait_is_not_asked_all_the_time() -> None:
    world = World(mapping_of())
    world.queue.waits = False
    began = asyncio.get_running_loop().time()

    async with world.reading():
        await world.until(lambda: world.queue.polls == 2)

    assert asyncio.get_running_loop().time() - began >= EMPTY_S


async def test_what_no_pattern_chooses_is_deleted_and_counted() -> None:
    pattern = json.dumps({"body": ["b"]})
    criteria = {"Filters": [{"Pattern": pattern}]}
    world = World(mapping_of(FilterCriteria=criteria), *"abc")

    async with world.reading():
        await world.until(lambda: len(world.queue.deleted) == 3)

    assert world.function.batches == [["b"]]
    assert world.counts["filtered"] == 2


async def test_a_queue_that_cannot_be_read_is_asked_again_and_told_of() -> None:
    world = World(mapping_of(), "a")
    world.queue.troubles.append(QueueTrouble("it is down"))

    async with world.reading():
        await world.until(lambda: world.counts["problems"])
        told = world.reader.result
        await world.until(lambda: world.queue.deleted)

    assert told == "PROBLEM: the queue could not be read. it is down"
    assert world.reader.result == "OK"


async def test_a_queue_that_is_not_there_is_told_of() -> None:
    world = World(mapping_of())
    world.queue.troubles.append(NoQueue("none"))

    async with world.reading():
        await world.until(lambda: world.counts["problems"])

    assert world.reader.result == "PROBLEM: the queue is not there. none"


async def test_what_is_no_answer_of_a_queue_s_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(mapping_of(), "a")
    monkeypatch.setattr("tests.unit.test_polling_reader._raw", lambda _: {})

    async with world.reading():
        await world.until(lambda: world.counts["problems"])

    assert "as SQS has them" in world.reader.result


async def test_messages_of_a_function_that_is_gone_stay_in_their_queue() -> None:
    world = World(mapping_of(), "a")
    world.function.missing = NotFound("Function not found: f")

    async with world.reading():
        await world.until(lambda: world.counts["problems"])

    assert world.queue.polls == 0
    assert world.reader.result == "PROBLEM: Function not found: f"


async def test_a_deletion_that_fails_is_tried_again() -> None:
    world = World(mapping_of(), "a")
    world.queue.delete_troubles.append(QueueTrouble("busy"))

    async with world.reading():
        await world.until(lambda: world.queue.deleted)

    assert world.counts["deleted"] == 1


async def test_a_message_that_cannot_be_deleted_is_told_of() -> None:
    world = World(mapping_of(), *"ab")
    world.queue.kept.add("a")

    async with world.reading():
        await world.until(lambda: world.counts["not_deleted"])

    assert world.queue.deleted == ["b"]
    assert "were not deleted" in world.reader.result
    assert TRIES == 3


async def test_what_is_not_wanted_any_more_is_not_read() -> None:
    world = World(mapping_of(), "a")
    world.mapping = None

    async with asyncio.timeout(10):
        await world.reader.run()

    assert world.queue.polls == 0


def _throttled() -> Throttled:
    return Throttled("too many at once", reason="r", limit=1, retry_after_s=1.0)
