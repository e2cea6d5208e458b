"""Events: invocations whose callers do not wait.

In memory, and one attempt each: a function that fails has had its turn. What did
not start, because its tenant was throttled or no instance could be had, waits and
is tried again with growing pauses until it is too old.

Each tenant has a queue and a few workers of its own, so that one tenant's flood
is nobody else's delay.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError, Throttled, Unavailable
from sandlot_engine.model.invocation import Invocation

MAX_QUEUED = 1_000
"""Events of one tenant that wait."""

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Bytes of one tenant's events that wait."""

MAX_ALL_QUEUED_BYTES = 512 * 1024 * 1024
"""Bytes of all events that wait: they are in memory."""

WORKERS = 16
"""Events of one tenant that run, or wait for their next try, at once."""

MAX_AGE_S = 6 * 3600.0
"""AWS's `MaximumEventAgeInSeconds` where nobody set it."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""AWS tries throttled events again after 1 s at first and 5 minutes at last."""

RETRY_AFTER_S = 5.0
"""What a caller is told whose queue is full."""

_log = logging.getLogger(__name__)

Attempt = Callable[[Invocation], Awaitable[object]]
"""Runs an event once; raises `Throttled` or `Unavailable` where it did not start."""


@dataclass(slots=True)
class _Lane:
    """What one tenant has waiting, and how many workers are at it."""

    waiting: deque[Invocation] = field(default_factory=deque)
    bytes: int = 0
    workers: int = 0


class Dispatcher:
    """A bounded queue of events and the workers that empty it.

    An async context manager. Leaving it refuses new events, lets what waits and
    runs finish for `drain_s`, then cancels the rest; `left` has what was lost.
    """

    def __init__(
        self,
        attempt: Attempt,
        clock: Clock,
        *,
        drain_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._attempt = attempt
        self._clock = clock
        self._drain_s = drain_s
        self._sleep = sleep
        self._lanes: dict[str, _Lane] = {}
        self._bytes = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._unfinished: dict[str, Invocation] = {}
        self._is_open = False
        self.dropped = 0
        """Events given up because they were too old or could not be run."""

    def __repr__(self) -> str:
        return f"<Dispatcher {self.waiting} waiting, {len(self._workers)} workers>"

    @property
    def waiting(self) -> int:
        """Events that no worker has taken yet."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def left(self) -> tuple[Invocation, ...]:
        """Events accepted and not finished, oldest first."""
        return tuple(self._unfinished.values())

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        if self._workers:
            await asyncio.wait(self._workers, timeout=self._drain_s)
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for event in self.left:
            _log.warning("event lost: the engine stopped", extra=_ids(event))

    def enqueue(self, event: Invocation) -> None:
        """Take an event. Raise `Throttled` where its tenant's queue is full, and
        `Unavailable` while the engine stops."""
        if not self._is_open:
            raise Unavailable("the engine is stopping; send the event again later")
        lane = self._lanes.setdefault(event.tenant_id, _Lane())
        self._check_room(lane, event)
        lane.waiting.append(event)
        lane.bytes += len(event.payload)
        self._bytes += len(event.payload)
        self._unfinished[event.request_id] = event
        if lane.workers < WORKERS:
            self._start_worker(event.tenant_id, lane)

    def _check_room(self, lane: _Lane, event: Invocation) -> None:
        tenant, size = event.tenant_id, len(event.payload)
        if len(lane.waiting) >= MAX_QUEUED:
            raise _full(
                f"tenant {tenant!r} already has {MAX_QUEUED} events waiting "
                f"of {MAX_QUEUED} allowed",
                MAX_QUEUED,
            )
        if lane.bytes + size > MAX_QUEUED_BYTES:
            raise _full(
                f"tenant {tenant!r} already has {lane.bytes} bytes of events waiting "
                f"of {MAX_QUEUED_BYTES} allowed",
                MAX_QUEUED_BYTES,
            )
        if self._bytes + size > MAX_ALL_QUEUED_BYTES:
            raise _full(
                f"the engine already has {self._bytes} bytes of events waiting "
                f"of {MAX_ALL_QUEUED_BYTES} allowed",
                MAX_ALL_QUEUED_BYTES,
            )

    def _start_worker(self, tenant_id: str, lane: _Lane) -> None:
        # Counted here, not by the task: it begins only when we next wait.
        lane.workers += 1
        worker = asyncio.create_task(self._work(tenant_id, lane))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self, tenant_id: str, lane: _Lane) -> None:
        """Take events until none waits. The last worker out closes the lane."""
        try:
            while lane.waiting:
                event = lane.waiting.popleft()
                lane.bytes -= len(event.payload)
                self._bytes -= len(event.payload)
                await self._finish(event)
        finally:
            lane.workers -= 1
            if not lane.workers and not lane.waiting:
                self._lanes.pop(tenant_id, None)

    async def _finish(self, event: Invocation) -> None:
        """Try until it started or is too old. Only a cancellation leaves it
        unfinished."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._attempt(event)
                break
            except (Throttled, Unavailable) as refusal:
                if self._age_s(event) + pause_s > MAX_AGE_S:
                    self._drop(event, f"older than {MAX_AGE_S:.0f} s", refusal)
                    break
            except SandlotError as error:
                self._drop(event, "cannot be run", error)
                break
            except Exception as error:  # noqa: BLE001 - a worker must outlive its event
                self._drop(event, "failed for an unforeseen reason", error)
                break
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        del self._unfinished[event.request_id]

    def _age_s(self, event: Invocation) -> float:
        return self._clock.monotonic() - event.arrived

    def _drop(self, event: Invocation, why: str, error: Exception) -> None:
        self.dropped += 1
        _log.warning("event dropped: %s", why, exc_info=error, extra=_ids(event))


def _full(message: str, limit: int) -> Throttled:
    # AWS has no reason of its own for a full queue; this one exists in its enum.
    return Throttled(
        message,
        reason="CallerRateLimitExceeded",
        limit=limit,
        retry_after_s=RETRY_AFTER_S,
    )


def _ids(event: Invocation) -> dict[str, str]:
    return {
        "request_id": event.request_id,
        "tenant_id": event.tenant_id,
        "function": event.function,
    }
