"""A queue and a function for those who read one for the other."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sandlot_engine.errors import Refusal, SandlotError
from sandlot_engine.events.lineage import RECURSION, is_loop
from sandlot_engine.model.invocation import Invocation, Outcome, Report, Status
from sandlot_engine.model.mapping import Mapping, SourceKind
from sandlot_engine.polling.ports import Raw, Sorted
from sandlot_engine.polling.queues import QueueTrouble
from sandlot_engine.polling.sources import Source
from tests.fakes.things import NOON

DEADLINE_S = 20.0
TENANT = "123456789012"


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
        self.hidden_trouble: QueueTrouble | None = None
        self.polls = 0
        self.deleted: list[str] = []
        self.released: list[str] = []
        self.kept: set[str] = set()
        """What it does not delete."""

        self.raw: Callable[[str], dict[str, Any]] = raw_of
        self.has_endpoint = True
        self.at_once = self.most_at_once = 0
        self.waits = True
        """As SQS does, for messages to come."""

        self.filled = asyncio.Event()

    async def receive(
        self, source: Source, *, count: int, wait_s: int, read: Callable[[Raw], Sorted]
    ) -> Sorted:
        self.polls += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            return await self._receive(count, wait_s, read)
        finally:
            self.at_once -= 1

    async def _receive(
        self, count: int, wait_s: int, read: Callable[[Raw], Sorted]
    ) -> Sorted:
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
        return read([self.raw(body) for body in bodies])

    async def delete(self, source: Source, handles: Sequence[str]) -> list[str]:
        if self.delete_troubles:
            raise self.delete_troubles.popleft()
        self.deleted += [handle for handle in handles if handle not in self.kept]
        return [handle for handle in handles if handle in self.kept]

    async def release(self, source: Source, handles: Sequence[str]) -> None:
        self.released += handles

    async def visibility_s(self, source: Source) -> float:
        if self.hidden_trouble is not None:
            raise self.hidden_trouble
        return self.hidden_s


def raw_of(body: str) -> dict[str, Any]:
    return {"MessageId": body, "ReceiptHandle": body, "Body": body}


class FakeFunction:
    """Answers what `answers` has, and then null; `gate` holds what runs."""

    def __init__(self) -> None:
        self.answers: deque[object] = deque()
        self.missing: SandlotError | None = None
        self.batches: list[list[str]] = []
        self.qualifiers: set[str] = set()
        self.trace_ids: list[str] = []
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
        self.trace_ids.append(invocation.trace_id)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, SandlotError):
            raise answer
        if is_loop(invocation.lineage, invocation.tenant_id, invocation.function):
            raise Refusal("a loop", reason=RECURSION)
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


async def until(seen: Callable[[], object]) -> None:
    """Wait for what is done beside; `TimeoutError` if it never is."""
    async with asyncio.timeout(DEADLINE_S):
        while not seen():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.002)
