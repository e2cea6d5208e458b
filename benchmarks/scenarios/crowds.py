"""Many instances of one function at once: what `burst` and `density` begin with.

Each invocation holds its instance until a point in time, so that none can be used
twice; its answer says when the handler was entered, on the machine's own clock.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field

from benchmarks.callers import GrpcCaller, NoAnswer, grpc_caller
from benchmarks.engines import Engine
from benchmarks.openloop import MAX_KINDS, MAX_TOLD, WasThrottled
from sandlot.results import NewKey
from sandlot.v1 import invocations_pb2 as pb

FUNCTION = "crowd"
AGAIN_S = 0.05
"""Whoever is throttled asks again so much later, as an SDK would."""

PATIENCE_S = 60.0
"""How long one insists."""

CHANNELS = 8
"""Connections that the callers share."""

_IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}")

SOURCE = """
import secrets, time
name = ""
def handler(event, context):
    global name
    entered = time.time()
    name = name or secrets.token_hex(8)
    time.sleep(max(0.0, event["until"] - entered))
    return {"entered": entered, "instance": name}
"""


@dataclass(slots=True)
class Crowd:
    """What came of asking for so many at once."""

    wanted: int
    entered_s: list[float] = field(default_factory=list)
    """Sorted: from the beginning until the n-th handler was entered."""

    answered_s: float = 0.0
    """Until the last had its answer. The wait that was asked for is in it."""

    instances: int = 0
    """Different ones."""

    throttled: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """By their words, without what differs from one to the next."""

    def note_failure(self, error: Exception) -> None:
        name = _IDS.sub("…", str(error))[:MAX_TOLD]
        self.failures[name] = self.failures.get(name, 0) + 1

    def told(self) -> str:
        """The most frequent failures."""
        most = sorted(self.failures.items(), key=lambda each: -each[1])[:MAX_KINDS]
        return "; ".join(f"{count:,} x {name}" for name, count in most) or "no failure"

    @property
    def reached_s(self) -> float:
        """Until all were in their handlers."""
        return self.entered_s[-1] if self.entered_s else 0.0


async def gather(engine: Engine, key: NewKey, count: int, *, within_s: float) -> Crowd:
    """Have `count` instances answer at once. Instances that came only after `within_s`
    may be used twice: then there are fewer than wanted."""
    began = time.time()
    body = json.dumps({"until": began + within_s}).encode()
    callers = [
        # A handler stays until all have come, and its caller with it.
        grpc_caller(engine, key, FUNCTION, body, timeout_s=within_s + PATIENCE_S)
        for _ in range(CHANNELS)
    ]
    crowd, seen = Crowd(wanted=count), set[str]()

    async def one(caller: GrpcCaller) -> None:
        reply = await _insist(caller, crowd)
        if reply is not None:
            answer = json.loads(reply.payload)
            crowd.entered_s.append(answer["entered"] - began)
            seen.add(answer["instance"])

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(callers[number % CHANNELS]))
        crowd.answered_s = time.time() - began
    finally:
        for caller in callers:
            await caller.close()
    crowd.entered_s.sort()
    crowd.instances = len(seen)
    return crowd


async def _insist(caller: GrpcCaller, crowd: Crowd) -> pb.InvokeResponse | None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            return await caller()
        except WasThrottled:
            crowd.throttled += 1
            await asyncio.sleep(AGAIN_S)
        except Exception as error:  # noqa: BLE001 - counted by name, and told
            crowd.note_failure(error)
            return None
    crowd.note_failure(NoAnswer("still throttled"))
    return None
