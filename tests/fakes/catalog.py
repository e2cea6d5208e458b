"""A catalog of functions over a node that a test holds back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandlot_engine.catalog.changing import NoteChange
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.catalog.quotas import Quota
from sandlot_engine.catalog.validation import check_network
from sandlot_engine.clock import SystemClock
from sandlot_engine.model.function import (
    Function,
    FunctionConfig,
    FunctionState,
    Revision,
    UpdateStatus,
)
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import Tenant
from tests.fakes.building import build_here
from tests.fakes.stores import MemoryStore
from tests.fakes.things import tenant
from tests.fakes.waiting import eventually
from tests.fakes.zips import zip_of

TENANT = "000000000042"
ARN = f"arn:aws:lambda:eu-north-1:{TENANT}:function:resize"
CONFIG = FunctionConfig(handler="app.handler", runtime="python3.11")
ZIP = zip_of({"app.py": "def handler(event, context): return 1"})
OTHER_ZIP = zip_of({"app.py": "def handler(event, context): return 2"})
READY = Prepared(fork_safe=True, reason="")


@dataclass
class Node:
    """What the scheduler does for the catalog, held back until `go` is set."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    prepared: list[str] = field(default_factory=list)
    """Revision ids, and so below."""

    retired: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    error: BaseException | None = None
    refused: int = 0
    """How often that was raised."""

    answer: Prepared = READY
    preparing: asyncio.Event = field(default_factory=asyncio.Event)
    busy: dict[str, asyncio.Event] = field(default_factory=dict)
    """Revisions whose last invocation ends when the event is set."""

    async def prepare(self, _: Function, revision: Revision, path: Path) -> Prepared:
        self.preparing.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(revision.id)
            raise
        if self.error is not None:
            self.refused += 1
            raise self.error
        assert path.name == f"{revision.code.sha256}-{revision.config.runtime}"
        self.prepared.append(revision.id)
        return self.answer

    async def has_refused(self) -> bool:
        return bool(self.refused)

    async def retire(self, tenant_id: str, name: str, revision_id: str) -> None:
        assert tenant_id == TENANT
        assert name
        if revision_id in self.busy:
            await self.busy[revision_id].wait()
        self.retired.append(revision_id)


@dataclass
class Owner:
    """The one tenant that there is."""

    limit: int
    """Its concurrency."""

    tenant: Tenant = field(default_factory=lambda: tenant(TENANT))
    """With its network policy."""

    def concurrency(self, _: str) -> int:
        return self.limit

    def grant_network(self, tenant_id: str, network: Network) -> None:
        assert tenant_id == TENANT
        check_network(network, self.tenant)


@dataclass
class Bench:
    """A catalog with everything below it."""

    functions: Functions
    node: Node
    store: MemoryStore
    code_folder: Path
    owner: Owner

    async def set_policy(self, network: Network) -> None:
        self.owner.tenant = replace(self.owner.tenant, network=network)
        await self.functions.renew(TENANT)

    async def create(
        self,
        name: str = "resize",
        *,
        code: bytes = ZIP,
        network: Network = Network.NONE,
    ) -> Function:
        config = replace(CONFIG, network=network)
        return await self.functions.create(TENANT, name, config, code)

    async def settled(self, name: str = "resize", qualifier: str = "") -> Function:
        """The function once nothing is in progress any more."""
        self.node.go.set()

        async def is_settled() -> bool:
            function = await self.functions.get(TENANT, name, qualifier)
            is_pending = function.state is FunctionState.PENDING
            is_updating = function.update_status is UpdateStatus.IN_PROGRESS
            return not is_pending and not is_updating

        await eventually(is_settled)
        return await self.functions.get(TENANT, name, qualifier)

    async def publish(self, **given: Any) -> Function:
        """A version, once it is ready."""
        version = await self.functions.publish(TENANT, "resize", **given)
        return await self.settled(qualifier=version.version)

    async def code_of(self, name: str, qualifier: str = "") -> bytes:
        """The newest package, as it was uploaded."""
        function = await self.functions.get(TENANT, name, qualifier)
        size, pieces = await self.functions.package(function.current.code.sha256)
        read = b"".join([piece async for piece in pieces])
        assert len(read) == size
        return read

    async def codes_left(self, count: int) -> None:
        """Wait until there are as many packages on disk."""

        async def are_left() -> bool:
            return len(list(self.code_folder.glob("*.zip"))) == count

        await eventually(are_left)


@asynccontextmanager
async def opened(
    folder: Path,
    store: MemoryStore,
    node: Node,
    quota: Quota | None,
    *,
    chance: Callable[[], float] = lambda: 0.5,
    belongings: Iterable[Kept[Any]] = (),
    concurrency: int = 1_000,
    note_change: NoteChange = lambda *_: None,
    provisioned: Callable[[str, str], int] = lambda *_: 0,
) -> AsyncIterator[Bench]:
    owner = Owner(concurrency)
    async with CodeStore(folder / "code", build=build_here) as codes:
        functions = Functions(
            store,
            codes,
            clock=SystemClock(),
            runtimes=lambda: ["python3.11", "python3.12"],
            node=node,
            tenants=owner,
            note_change=note_change,
            provisioned=provisioned,
            region="eu-north-1",
            quota=quota,
            chance=chance,
            belongings=belongings,
        )
        async with functions:
            yield Bench(functions, node, store, folder / "code", owner)
