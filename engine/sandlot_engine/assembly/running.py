"""The engine's parts, put together. Importing this imports them all."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from sandlot_engine.assembly.access import (
    addresses_of,
    bucket_access,
    check_certificate,
    endpoint_access,
)
from sandlot_engine.assembly.announcing import Facts
from sandlot_engine.assembly.catalog import catalog_of, tenants_of, triggers_of
from sandlot_engine.assembly.gateways import gateways
from sandlot_engine.assembly.machine import first_hello, may_run, node_of, room
from sandlot_engine.assembly.ownership import check_ours
from sandlot_engine.assembly.status import status_of
from sandlot_engine.assembly.stopping import Stop
from sandlot_engine.assembly.watching import watch
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.clock import SystemClock
from sandlot_engine.events.dead_letters import DeadLetters
from sandlot_engine.events.delivering import Delivering
from sandlot_engine.events.endpoints import Endpoints
from sandlot_engine.folders import Folder
from sandlot_engine.gateway.aws.buckets import Buckets
from sandlot_engine.gateway.aws.call import Parts
from sandlot_engine.gateway.aws.downloads import Downloads
from sandlot_engine.gateway.ports import Backend, Catalog
from sandlot_engine.invocation.event_settings import EventSettings
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.node import machine
from sandlot_engine.node.builder import build_package
from sandlot_engine.node.images import Images
from sandlot_engine.node.instances import NodeMachine
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.node import Node
from sandlot_engine.node.pressure import cells_for_crowds
from sandlot_engine.options import EngineConfig
from sandlot_engine.polling.poller import Poller
from sandlot_engine.polling.queues import Queues
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.triggers.parts import KeptTriggers
from sandlot_engine.workers.link import Link, Reclaiming
from sandlot_sandbox.launcher.registry import FILE, Registry
from sandlot_sandbox.launcher.runtime import parse_runtimes
from sandlot_sandbox.spec import Hello


@asynccontextmanager
async def running(config: EngineConfig, stop: Stop) -> AsyncIterator[Facts]:
    """All the parts, from the bottom up; undone from the top down. A list of steps,
    whose order is what each needs of those before it."""
    data, clock, link = Path(config.data), SystemClock(), Link()
    known = Registry(parse_runtimes(config.runtimes), data / "runtimes" / FILE)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        check_ours(data, uid=os.geteuid())
        store = await enter(
            SqliteStore.open(
                data / "sandlot.db", keep_records_s=config.keep_records_days * 86_400
            )
        )
        # Workers run nothing on what they were lent before.
        store.on_failing = partial(link.note_change, "")
        tenants = await tenants_of(data, store, link)
        runtimes = Folder(data / "runtimes")
        launchers = Launchers(
            cell_files=room().cell_files,
            cells_for_crowds=cells_for_crowds(
                total_mb=machine.memory_mb()[0],
                budget_mb=config.scale.memory_mb,
                processes=machine.processes(),
            ),
            check=runtimes.check,
        )
        await enter(launchers.listening(socket.socket(fileno=config.control)))
        build = partial(build_package, launchers)
        images = Images(launchers, config.image_dirs)
        codes = await enter(CodeStore(data / "code", build=build, images=images))
        node = node_of(config, launchers, store, codes, tenants)
        hello = await first_hello(launchers)
        # When nothing is started any more, and all that is started still lives.
        stack.push_async_callback(node.say_farewell)
        scheduler = await enter(_scheduler(config, node, tenants, clock))
        kept = KeptTriggers.over(store)
        catalog = await enter(
            catalog_of(
                config, store, codes, node, scheduler, tenants, known, kept, link
            )
        )
        check_certificate(config)
        addresses, access = addresses_of(config), endpoint_access(config)
        # Left after the invoker: an endpoint that hangs holds up nothing that runs.
        queues = stack.enter_context(Queues(access))
        settings = EventSettings(catalog.functions, catalog.event_configs)
        invoker = await enter(
            _invoker(config, store, catalog, settings, tenants, scheduler, link, clock)
        )
        stop.hurry = partial(_hurry, invoker, link)
        endpoints = stack.enter_context(Endpoints(access))
        await enter(
            Delivering(
                store,
                invoker.events,
                tell=endpoints.tell,
                check=invoker.dry_run,
                region=config.region,
            )
        )
        poller = Poller(
            *(catalog.mappings, queues, invoker),
            reserved=catalog.functions.reserved,
            clock=clock,
        )
        await enter(poller.running())

        def trouble() -> str:
            folders = runtimes.trouble() or codes.trouble()
            return launchers.trouble or folders or store.trouble

        watch(
            *(invoker, catalog.functions, scheduler, node, store, link, poller),
            launchers=launchers,
            trouble=trouble,
        )
        triggers = triggers_of(config, kept, catalog, invoker)
        await enter(triggers.running())
        backend = Backend(
            functions=catalog.functions,
            tenants=tenants,
            invoker=invoker,
            records=store,
            triggers=triggers,
            event_store=store,
            dead_letters=DeadLetters(store, invoker.events, settings.of),
            event_configs=catalog.event_configs,
            status=partial(status_of, launchers, node, known),
            clock=clock,
            region=config.region,
            aliases=catalog.functions.aliases,
            layers=catalog.functions.layers,
            settings=catalog.functions.settings,
            provisioned=catalog.provisioned,
            urls=catalog.urls,
            policies=catalog.policies,
            addresses=addresses,
            instances_of=scheduler.instances_of,
        )
        parts = Parts(
            catalog=catalog,
            region=config.region,
            buckets=Buckets(bucket_access(config)),
            downloads=Downloads(clock),
            addresses=addresses,
            sources=poller,
        )
        if config.workers > 1:
            # Not at the top: only an engine that has workers needs it.
            from sandlot_engine.assembly.worker_gateways import core_of, worker_gateways

            core = core_of(backend, catalog, tenants, scheduler)
            serving = worker_gateways(config, backend, parts, trouble, core, link)
        else:
            serving = gateways(config, backend, parts, trouble)
        grpc, http = await enter(serving)
        yield _facts(hello, grpc=grpc, http=http)


def _scheduler(
    config: EngineConfig, node: Node, tenants: Tenants, clock: SystemClock
) -> AbstractAsyncContextManager[Scheduler]:
    return Scheduler.running(
        NodeMachine(node),
        clock=clock,
        max_instances=min(config.scale.instances, room().instances),
        max_standbys=config.scale.standbys,
        scaling=config.scale.scaling,
        idle_s=config.idle_s,
        check=may_run(tenants),
    )


def _invoker(
    config: EngineConfig,
    store: SqliteStore,
    catalog: Catalog,
    settings: EventSettings,
    tenants: Tenants,
    scheduler: Scheduler,
    link: Link,
    clock: SystemClock,
) -> Invoker:
    return Invoker(
        functions=catalog.functions,
        quotas=tenants,
        runner=Reclaiming(scheduler, link),
        records=store,
        event_store=store,
        event_settings=settings.of,
        event_delays_s=config.event_retry_delays_s,
        clock=clock,
        answers=store,
        idempotency_s=config.idempotency_s,
        reclaim=link.reclaim_places if config.workers > 1 else None,
        claims=catalog.provisioned.claims,
        requests_per_slot=config.scale.requests,
    )


def _hurry(invoker: Invoker, link: Link) -> None:
    invoker.hurry()
    link.hurry()


def _facts(hello: Hello, *, grpc: str, http: str) -> Facts:
    return Facts(
        grpc=grpc,
        http=http,
        mode=hello.mode,
        given_up=[layer.name for layer in hello.layers if layer.given_up],
        weaker=[r.name for r in hello.layers if not (r.holds or r.given_up)],
    )
