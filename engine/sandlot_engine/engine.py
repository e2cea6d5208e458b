"""The engine's process: puts the parts together, serves, drains.

Started by the supervisor, as root or as a user. Its first steps are to make what it
needs reachable, to give up root, and to tie its life to the supervisor's.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from sandlot_engine import disk, garbage, priority
from sandlot_engine.assembly.announcing import Facts, announce
from sandlot_engine.assembly.machine import Refused, first_hello, node_of, room
from sandlot_engine.assembly.ownership import check_ours
from sandlot_engine.errors import SandlotError, Troubled
from sandlot_engine.log_format import log_to_operator
from sandlot_engine.options import EngineConfig
from sandlot_engine.reach import make_reachable, own_code
from sandlot_sandbox import linux
from sandlot_sandbox.launcher.registry import FILE, Registry
from sandlot_sandbox.launcher.runtime import parse_runtimes
from sandlot_sandbox.probe import EX_CONFIG
from sandlot_sandbox.stamps import stamp

# The parts themselves are imported by the functions that make them, so that a
# supervisor that is gone is noticed first, and cheaply.
if TYPE_CHECKING:
    from sandlot_engine.catalog.tenants import Tenants
    from sandlot_engine.gateway.aws.call import Parts
    from sandlot_engine.gateway.ports import Backend, Catalog
    from sandlot_engine.invocation.invoker import Invoker
    from sandlot_engine.scheduler.scheduler import Scheduler
    from sandlot_engine.workers.link import Link
    from sandlot_engine.workers.pool import Core

log = logging.getLogger("sandlot")


def main() -> int:
    started = time.monotonic()
    config = EngineConfig.from_json(sys.argv[1])
    _give_up_root(config)
    log_to_operator(stamp)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, started))


def _give_up_root(config: EngineConfig) -> None:
    if os.geteuid() == 0:
        needed = [Path(config.data), *own_code()]
        needed += [Path(path) for path in (config.tls_cert, config.tls_key) if path]
        # What is made now, others have to walk through.
        os.umask(0o022)
        make_reachable(needed, uid=config.uid)
        priority.take()
        os.setgroups([])
        os.setresgid(config.gid, config.gid, config.gid)
        os.setresuid(config.uid, config.uid, config.uid)
    os.umask(0o077)
    # Two for each instance; and what is on its way to a jail counts until it is read.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    linux.set_no_new_privileges()
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    if os.getppid() != config.supervisor_pid:
        raise SystemExit("the supervisor is gone")


async def _serve(config: EngineConfig, started: float) -> int:
    stop = _Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    try:
        async with _running(config, stop) as facts:
            garbage.settle()
            announce(config, facts, time.monotonic() - started)
            await stop.wait()
            log.info("draining: calls that run have half a minute to end")
    except asyncio.CancelledError:
        if not stop.was_asked:
            raise
        log.info("stopped before it was ready")
    except (Refused, SandlotError, OSError, BaseExceptionGroup) as error:
        refused = _refusal_in(error, Path(config.data))
        if refused is None:
            raise
        message, status = refused
        with contextlib.suppress(OSError):  # a full disk, say
            print(f"sandlot: {message}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return status
    return 0


class _Stop:
    """SIGTERM: ends the start, if there is one under way, or else the serving; the
    second one, what that still runs."""

    def __init__(self) -> None:
        self.was_asked = False
        self.hurry: Callable[[], object] = lambda: None
        """Has what runs cut short."""

        self._starting = asyncio.current_task()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        if self._starting is not None and not self.was_asked:
            self._starting.cancel()
        elif self._starting is None and self.was_asked:
            log.info("asked again to stop: calls that run are cut short")
            self.hurry()
        self.was_asked = True
        self._asked.set()

    async def wait(self) -> None:
        self._starting = None
        await self._asked.wait()


def _refusal_in(error: BaseException, data: Path) -> tuple[str, int] | None:
    """What the operator is to be told, and the exit status; task groups wrap what went
    through them."""
    match error:
        case BaseExceptionGroup():
            found = (_refusal_in(inner, data) for inner in error.exceptions)
            return next((refused for refused in found if refused is not None), None)
        case OSError() if disk.is_of_data(error, data):
            return disk.told(error, data), disk.status_of(error)
        case Troubled():
            return str(error), os.EX_TEMPFAIL
        case Refused() | SandlotError():
            return str(error), EX_CONFIG
        case _:
            return None


@asynccontextmanager
async def _running(config: EngineConfig, stop: "_Stop") -> AsyncIterator[Facts]:
    """All the parts, from the bottom up; undone from the top down."""
    from sandlot_engine.assembly.access import (
        addresses_of,
        bucket_access,
        endpoint_access,
    )
    from sandlot_engine.assembly.catalog import catalog_of, tenants_of, triggers_of
    from sandlot_engine.assembly.status import status_of
    from sandlot_engine.assembly.watching import watch
    from sandlot_engine.catalog.code import CodeStore
    from sandlot_engine.clock import SystemClock
    from sandlot_engine.events.dead_letters import DeadLetters
    from sandlot_engine.events.delivering import Delivering
    from sandlot_engine.events.endpoints import Endpoints
    from sandlot_engine.gateway.aws.buckets import Buckets
    from sandlot_engine.gateway.aws.call import Parts
    from sandlot_engine.gateway.aws.downloads import Downloads
    from sandlot_engine.gateway.ports import Backend
    from sandlot_engine.invocation.event_settings import EventSettings
    from sandlot_engine.invocation.invoker import Invoker
    from sandlot_engine.node.builder import build_package
    from sandlot_engine.node.images import Images
    from sandlot_engine.node.instances import NodeMachine
    from sandlot_engine.node.launchers import Launchers
    from sandlot_engine.polling.poller import Poller
    from sandlot_engine.polling.queues import Queues
    from sandlot_engine.scheduler.scheduler import Scheduler
    from sandlot_engine.store.sqlite import SqliteStore
    from sandlot_engine.triggers.parts import KeptTriggers
    from sandlot_engine.workers.link import Link, Reclaiming

    data, clock, link = Path(config.data), SystemClock(), Link()
    known = Registry(parse_runtimes(config.runtimes), data / "runtimes" / FILE)
    async with contextlib.AsyncExitStack() as stack:
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
        launchers = Launchers(cell_files=room().cell_files)
        await enter(launchers.listening(socket.socket(fileno=config.control)))
        build = partial(build_package, launchers)
        images = Images(launchers, config.image_dirs)
        codes = await enter(CodeStore(data / "code", build=build, images=images))
        node = node_of(config, launchers, store, codes, tenants)
        hello = await first_hello(launchers)
        # When nothing is started any more, and all that is started still lives.
        stack.push_async_callback(node.say_farewell)
        scheduler = await enter(
            Scheduler.running(
                NodeMachine(node),
                clock=clock,
                max_instances=min(config.scale.instances, room().instances),
                max_standbys=config.scale.standbys,
                scaling=config.scale.scaling,
                idle_s=config.idle_s,
            )
        )
        kept = KeptTriggers.over(store)
        catalog = await enter(
            catalog_of(
                config, store, codes, node, scheduler, tenants, known, kept, link
            )
        )
        functions = catalog.functions
        addresses, access = addresses_of(config), endpoint_access(config)
        # Left after the invoker: an endpoint that hangs holds up nothing that runs.
        queues = stack.enter_context(Queues(access))
        settings_of = EventSettings(functions, catalog.event_configs).of
        invoker = await enter(
            Invoker(
                functions=functions,
                quotas=tenants,
                runner=Reclaiming(scheduler, link),
                records=store,
                event_store=store,
                event_settings=settings_of,
                event_delays_s=config.event_retry_delays_s,
                clock=clock,
                answers=store,
                idempotency_s=config.idempotency_s,
                reclaim=link.reclaim_places,
                claims=catalog.provisioned.claims,
                requests_per_slot=config.scale.requests,
            )
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
            reserved=functions.reserved,
            clock=clock,
        )
        await enter(poller.running())

        def trouble() -> str:
            return launchers.trouble or store.trouble

        watch(invoker, scheduler, node, store, link, poller, launchers, trouble)
        triggers = triggers_of(config, kept, catalog, invoker)
        await enter(triggers.running())
        backend = Backend(
            functions=functions,
            tenants=tenants,
            invoker=invoker,
            records=store,
            triggers=triggers,
            event_store=store,
            dead_letters=DeadLetters(store, invoker.events, settings_of),
            event_configs=catalog.event_configs,
            status=partial(status_of, launchers, node, known),
            clock=clock,
            region=config.region,
            aliases=functions.aliases,
            layers=functions.layers,
            settings=functions.settings,
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
            core = _core(backend, catalog, tenants, scheduler)
            gateways = _worker_gateways(config, backend, parts, trouble, core, link)
        else:
            gateways = _gateways(config, backend, parts, trouble)
        grpc, http = await enter(gateways)
        given_up = [layer.name for layer in hello.layers if layer.given_up]
        weaker = [r.name for r in hello.layers if not (r.holds or r.given_up)]
        yield Facts(
            grpc=grpc, http=http, mode=hello.mode, given_up=given_up, weaker=weaker
        )


def _hurry(invoker: "Invoker", link: "Link") -> None:
    invoker.hurry()
    link.hurry()


@asynccontextmanager
async def _gateways(
    config: EngineConfig,
    backend: "Backend",
    parts: "Parts",
    trouble: Callable[[], str],
) -> AsyncIterator[tuple[str, str]]:
    """Where gRPC and HTTP are served."""
    from sandlot_engine.gateway import connections
    from sandlot_engine.gateway.http import serve as serve_http
    from sandlot_engine.gateway.rpc.listeners import Tls
    from sandlot_engine.gateway.rpc.server import MAX_CONNECTIONS, serve

    tls = None
    if config.tls_cert:
        tls = Tls(
            certificate=await asyncio.to_thread(Path(config.tls_cert).read_bytes),
            key=await asyncio.to_thread(Path(config.tls_key).read_bytes),
        )
    async with (
        serve(
            backend,
            address=config.grpc,
            tls=tls,
            allow_plaintext=config.allow_plaintext,
            # The other half is HTTP's.
            max_connections=min(MAX_CONNECTIONS, room().connections // 2),
        ) as port,
        serve_http(
            backend,
            parts,
            address=config.http,
            trouble=trouble,
            max_connections=min(connections.MAX_CONNECTIONS, room().connections // 2),
        ) as http_port,
    ):
        host = config.grpc.rpartition(":")[0]
        http_host = config.http.rpartition(":")[0]
        backend.addresses.note_served_at(http_host, http_port)
        yield f"{host}:{port}", f"http://{http_host}:{http_port}"


def _core(
    backend: "Backend", catalog: "Catalog", tenants: "Tenants", scheduler: "Scheduler"
) -> "Core":
    from sandlot_engine.workers.catalog import CoreCatalog
    from sandlot_engine.workers.pool import Core, Keys

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


@asynccontextmanager
async def _worker_gateways(
    config: EngineConfig,
    backend: "Backend",
    parts: "Parts",
    trouble: Callable[[], str],
    core: "Core",
    link: "Link",
) -> AsyncIterator[tuple[str, str]]:
    """Where workers serve gRPC and HTTP; what they forward is served here."""
    from sandlot_engine.gateway.http import Router
    from sandlot_engine.workers.gateways import workers_serving

    async with workers_serving(
        config.workers,
        core=core,
        backend=backend,
        router=Router(backend, parts, trouble),
        link=link,
        config=config,
        connections=room().connections // 2 // config.workers,
    ) as (port, http_port):
        host = config.grpc.rpartition(":")[0]
        http_host = config.http.rpartition(":")[0]
        backend.addresses.note_served_at(http_host, http_port)
        yield f"{host}:{port}", f"http://{http_host}:{http_port}"


if __name__ == "__main__":
    sys.exit(main())
