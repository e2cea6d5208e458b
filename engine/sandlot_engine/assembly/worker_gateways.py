"""Gateways where workers serve. Imported by an engine that has some."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sandlot_engine.assembly.gateways import served_at
from sandlot_engine.assembly.machine import room
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.gateway.aws.call import Parts
from sandlot_engine.gateway.http import Router
from sandlot_engine.gateway.ports import Backend, Catalog
from sandlot_engine.options import EngineConfig
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.workers.catalog import CoreCatalog
from sandlot_engine.workers.gateways import workers_serving
from sandlot_engine.workers.link import Link
from sandlot_engine.workers.pool import Core, Keys


@asynccontextmanager
async def worker_gateways(
    config: EngineConfig,
    backend: Backend,
    parts: Parts,
    trouble: Callable[[], str],
    core: Core,
    link: Link,
) -> AsyncIterator[tuple[str, str]]:
    """Where workers serve gRPC and HTTP; what they forward is served here."""
    async with workers_serving(
        config.workers,
        core=core,
        backend=backend,
        router=Router(backend, parts, trouble),
        link=link,
        config=config,
        connections=room().connections // 2 // config.workers,
    ) as (port, http_port):
        yield served_at(config, backend, port, http_port)


def core_of(
    backend: Backend, catalog: Catalog, tenants: Tenants, scheduler: Scheduler
) -> Core:
    return Core(
        catalog=CoreCatalog(
            catalog.functions,
            catalog.policies,
            tenants,
            backend.invoker.admission,
            catalog.provisioned.claims,
            backend.clock,
            backend.records.check_writing,
        ),
        keys=Keys(secret_of=tenants.signing_secret, known=tenants.known),
        scheduler=scheduler,
        bill=backend.invoker.take_record,
        clock=backend.clock,
    )
