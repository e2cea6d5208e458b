"""Functions, tenants and triggers, and all that is kept of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sandlot_engine.assembly.announcing import write_private
from sandlot_engine.catalog import seal
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.event_configs import EventConfigs, kept_event_configs
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.catalog.mappings import Mappings, kept_mappings
from sandlot_engine.catalog.policies import Policies, kept_policies
from sandlot_engine.catalog.provisioned import (
    ProvisionedConcurrency,
    kept_provisioned,
)
from sandlot_engine.catalog.runtimes import Runtimes, kept_runtime_management
from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.catalog.signing import (
    SigningConfigs,
    kept_signing_configs,
    kept_signings,
)
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.catalog.urls import Urls, kept_urls
from sandlot_engine.clock import SystemClock
from sandlot_engine.gateway.ports import Catalog
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.tenant import AccessKey
from sandlot_engine.node.node import Node
from sandlot_engine.options import EngineConfig
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.triggers.directories import roots_of
from sandlot_engine.triggers.parts import KeptTriggers, TriggerParts, made_of
from sandlot_engine.workers.link import Link
from sandlot_sandbox.launcher.registry import Registry


@asynccontextmanager
async def catalog_of(
    config: EngineConfig,
    store: SqliteStore,
    codes: CodeStore,
    node: Node,
    scheduler: Scheduler,
    tenants: Tenants,
    known: Registry,
    kept_triggers: KeptTriggers,
    link: Link,
) -> AsyncIterator[Catalog]:
    """Functions, and all that is kept of them and beside them."""
    clock = SystemClock()
    policies, event_configs = kept_policies(store), kept_event_configs(store)
    urls, managements = kept_urls(store), kept_runtime_management(store)
    signings, signing_configs = kept_signings(store), kept_signing_configs(store)
    mappings, provisions = kept_mappings(store), kept_provisioned(store)
    provisioned: ProvisionedConcurrency | None = None

    def note_change(tenant_id: str, function: str) -> None:
        link.note_change(tenant_id)
        # Either knows the other; until the second is there nothing is provisioned.
        if provisioned is not None:
            provisioned.note_change(tenant_id, function)

    def check_code(tenant_id: str, function: str) -> None:
        signing.check_code(tenant_id, signing.of(tenant_id, function))

    async def provision(function: Function, count: int) -> int:
        revision = function.serving
        assert revision is not None  # noqa: S101 - it is active
        node.keep(function.tenant_id, revision.id, is_kept=count > 0)
        return await scheduler.provision(function, revision, count)

    def available(function: Function) -> int:
        revision = function.serving
        return scheduler.provisioned(revision.id) if revision is not None else 0

    async with Functions(
        store,
        codes,
        clock=clock,
        runtimes=lambda: [
            one.name for one in known.usable.values() if not one.is_image
        ],
        node=_CatalogNode(node, scheduler, link),
        tenants=tenants,
        belongings=(
            *(policies, event_configs, urls, managements, signings, provisions),
            *kept_triggers.belongings,
        ),
        of_tenants=(mappings, signing_configs, *kept_triggers.of_tenants),
        note_change=note_change,
        note_tenant=link.note_change,
        check_code=check_code,
        provisioned=lambda *which: provisioned.total(*which) if provisioned else 0,
        region=config.region,
        endpoints=config.destinations,
    ) as functions:
        signing = SigningConfigs(signing_configs, signings, functions, clock=clock)
        provisioned = ProvisionedConcurrency(
            provisions,
            functions,
            clock=clock,
            concurrency=tenants.concurrency,
            provision=provision,
            available=available,
        )
        node.learnt = lambda function, revision, reason: functions.note_learnt(
            function, revision, _prepared(reason)
        )
        async with provisioned:
            yield Catalog(
                functions=functions,
                policies=Policies(policies, functions),
                event_configs=EventConfigs(event_configs, functions, clock=clock),
                urls=Urls(urls, functions, clock=clock),
                mappings=Mappings(mappings, functions, clock=clock),
                signing=signing,
                runtimes=Runtimes(managements, functions),
                provisioned=provisioned,
            )


def _prepared(reason: str) -> Prepared:
    return Prepared(fork_safe=not reason, reason=reason)


@dataclass(frozen=True, slots=True)
class _CatalogNode:
    """See `functions.Node`."""

    node: Node
    scheduler: Scheduler
    link: Link

    async def prepare(
        self, function: Function, revision: Revision, _: Path
    ) -> Prepared:
        return _prepared(await self.node.host(function, revision).prepare())

    async def retire(self, _tenant: str, _name: str, revision: str) -> None:
        self.link.recall_revision(revision)
        await self.scheduler.drain(revision)
        self.node.retire(revision)


async def tenants_of(data: Path, store: SqliteStore, link: Link) -> Tenants:
    """With an operator among them, whose key is in the folder from the first start."""
    tenants = Tenants(
        store,
        Sealer.open(
            data / seal.MASTER_KEY,
            sealed=await store.sealed_secrets(limit=seal.SAMPLES),
        ),
        clock=SystemClock(),
        note_change=link.note_change,
    )

    def write(key: AccessKey, secret: str) -> None:
        write_private(
            data / "operator.json",
            {
                "tenant_id": key.tenant_id,
                "access_key_id": key.id,
                "secret_access_key": secret,
            },
        )

    await tenants.ensure_operator(write)
    return tenants


def triggers_of(
    config: EngineConfig,
    kept: KeptTriggers,
    catalog: Catalog,
    invoker: Invoker,
) -> TriggerParts:
    """What makes functions run without a caller, counted for `/metrics`."""
    parts = made_of(
        kept,
        catalog.functions,
        invoker,
        Sealer.open(Path(config.data) / seal.MASTER_KEY),
        clock=SystemClock(),
        region=config.region,
        roots=roots_of(config.watch_dirs),
    )
    invoker.metrics.watch(gauges=parts.gauges, counters=parts.counters)
    return parts
