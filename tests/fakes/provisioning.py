"""A catalog with provisioned concurrency, over a machine that a test holds back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sandlot_engine.catalog.provisioned import (
    ProvisionedConcurrency,
    kept_provisioned,
)
from sandlot_engine.model.function import Function
from sandlot_engine.model.provisioned import ProvisionStatus
from tests.fakes.catalog import TENANT, Bench, Node, opened
from tests.fakes.runner import FakeClock
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import eventually


@dataclass
class Machine:
    """Starts instances, as many as there is room for, once it may."""

    room: int = 1_000
    may_start: asyncio.Event = field(default_factory=asyncio.Event)
    kept: dict[str, int] = field(default_factory=dict)
    """By version; each has one revision here."""

    async def provision(self, function: Function, count: int) -> int:
        await self.may_start.wait()
        if not count:
            self.kept.pop(function.version, None)
            return 0
        self.kept[function.version] = min(count, self.room)
        return self.kept[function.version]

    def available(self, function: Function) -> int:
        return self.kept.get(function.version, 0)


@dataclass
class World:
    bench: Bench
    machine: Machine
    provisioned: ProvisionedConcurrency

    async def put(self, qualifier: str, requested: int) -> None:
        await self.provisioned.put(TENANT, "resize", qualifier, requested)

    def status(self, qualifier: str) -> tuple[str, int]:
        found = self.provisioned.get(TENANT, "resize", qualifier)
        return found.status, found.allocated

    async def wait_kept(self, **versions: int) -> None:
        wanted = {name.removeprefix("v"): count for name, count in versions.items()}

        async def is_so() -> bool:
            return self.machine.kept == wanted

        await eventually(is_so)

    async def wait_status(self, qualifier: str, status: ProvisionStatus) -> None:
        async def is_so() -> bool:
            return self.status(qualifier)[0] == status

        await eventually(is_so)


@asynccontextmanager
async def world_of(
    folder: Path, store: MemoryStore, machine: Machine
) -> AsyncIterator[World]:
    """On a machine, without any function yet."""
    kept = kept_provisioned(store)
    async with opened(
        folder,
        store,
        Node(),
        None,
        belongings=[kept],
        note_change=lambda *changed: provisioned.note_change(*changed),
        provisioned=lambda *asked: provisioned.total(*asked),
    ) as bench:
        provisioned = ProvisionedConcurrency(
            kept,
            bench.functions,
            clock=FakeClock(),
            concurrency=lambda _: 1_000,
            provision=machine.provision,
            available=machine.available,
            again_s=0.0,
        )
        async with provisioned:
            yield World(bench, machine, provisioned)
