"""The event queue over a disk in memory, whose attempts a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sandlot_engine.errors import Throttled
from sandlot_engine.events.queue import EventQueue
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import Event, EventState
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
            "sleep": self._sleep,
        } | options
        self.queue = EventQueue(self.disk, self._attempt, clock=self.clock, **given)
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
