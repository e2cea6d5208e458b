"""Triggers over a real catalog, with events that a test looks at and a clock that it
moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sandlot_engine.catalog.seal import MASTER_KEY_BYTES, Sealer
from sandlot_engine.errors import SandlotError
from sandlot_engine.model.invocation import Invocation
from sandlot_engine.model.trigger import Schedule, Trigger, TriggerKind
from sandlot_engine.triggers.groups import Groups
from sandlot_engine.triggers.keeping import Triggers
from sandlot_engine.triggers.parts import KeptTriggers, TriggerParts, made_of
from sandlot_engine.triggers.ticker import Ticker
from tests.fakes.catalog import TENANT, Bench, Node, opened
from tests.fakes.runner import FakeClock
from tests.fakes.stores import MemoryStore

REGION = "eu-north-1"
SEALER = Sealer(bytes(MASTER_KEY_BYTES))


class FakeEvents:
    """Takes every event, or raises `refusal`; knows their ids for ever."""

    def __init__(self) -> None:
        self.taken: list[Invocation] = []
        self.refusal: SandlotError | None = None
        self.offered = 0

    async def enqueue(self, invocation: Invocation) -> None:
        self.offered += 1
        if self.refusal is not None:
            raise self.refusal
        if invocation.request_id not in {event.request_id for event in self.taken}:
            self.taken.append(invocation)

    @property
    def payloads(self) -> list[bytes]:
        return [event.payload for event in self.taken]


@dataclass
class World:
    bench: Bench
    store: MemoryStore
    clock: FakeClock
    events: FakeEvents
    parts: TriggerParts
    made: int = field(default=0)

    @property
    def triggers(self) -> Triggers:
        return self.parts.triggers

    @property
    def groups(self) -> Groups:
        return self.parts.groups

    @property
    def ticker(self) -> Ticker:
        return self.parts.ticker

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def trigger(self, name: str = "nightly", **fields: Any) -> Trigger:
        """One that may be created; a schedule, if nothing else is said."""
        self.made += 1
        given: dict[str, Any] = {
            "id": f"id-{self.made}",
            "tenant_id": TENANT,
            "kind": TriggerKind.SCHEDULE,
            "name": name,
            "function": "resize",
            "created": self.now,
            "modified": self.now,
        }
        return Trigger(**(given | fields))

    def schedule(self, expression: str, **fields: Any) -> Schedule:
        return Schedule(expression=expression, anchor=self.now, **fields)

    async def create(
        self, expression: str, name: str = "nightly", **fields: Any
    ) -> Trigger:
        """A schedule, whose fields these are."""
        schedule = self.schedule(expression, **fields)
        return await self.triggers.create(self.trigger(name, schedule=schedule))

    async def pass_time(self, seconds: float, *, step_s: float = 60.0) -> None:
        """Look every minute, as the engine does whenever something is due."""
        until = self.clock.seconds + seconds
        await self.ticker.tick()
        while self.clock.seconds < until:
            self.clock.advance(min(step_s, until - self.clock.seconds))
            await self.ticker.tick()


@asynccontextmanager
async def world_in(
    folder: Path,
    *,
    store: MemoryStore | None = None,
    clock: FakeClock | None = None,
    events: FakeEvents | None = None,
    roots: tuple[Path, ...] = (),
) -> AsyncIterator[World]:
    """With functions `resize` and `shrink`, unless the store has them already. Nothing
    happens by itself: schedules are begun, and tick when a test says so."""
    is_new = store is None
    store, clock = store or MemoryStore(), clock or FakeClock()
    events = events or FakeEvents()
    kept = KeptTriggers.over(store)
    async with opened(folder, store, Node(), None, belongings=kept.belongings) as bench:
        await kept.groups.load()
        if is_new:
            await bench.create()
            await bench.create("shrink")
            await bench.settled()
            await bench.settled("shrink")
        parts = made_of(
            kept,
            bench.functions,
            events,
            SEALER,
            clock=clock,
            region=REGION,
            roots=roots,
        )
        await parts.triggers.load()
        parts.ticker.begin()
        yield World(bench=bench, store=store, clock=clock, events=events, parts=parts)
