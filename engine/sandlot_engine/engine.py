"""The engine's process: puts the parts together, serves, drains.

Started by the supervisor, as root or as a user. Its first steps are to make what it
needs reachable, to give up root, and to tie its life to the supervisor's.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from sandlot_engine import garbage
from sandlot_engine.errors import SandlotError, Unavailable
from sandlot_engine.log_format import Plain
from sandlot_engine.options import EngineConfig
from sandlot_engine.reach import make_reachable
from sandlot_sandbox import linux
from sandlot_sandbox.host.room import Room, room_in
from sandlot_sandbox.launcher.registry import FILE, Registry
from sandlot_sandbox.launcher.runtime import parse_runtimes
from sandlot_sandbox.probe import CAN_BE_GIVEN_UP, EX_CONFIG, missing
from sandlot_sandbox.spec import Hello, Layer

# The parts themselves are imported by the functions that make them, so that a
# supervisor that is gone is noticed first, and cheaply.
if TYPE_CHECKING:
    from sandlot_engine.catalog.code import CodeStore
    from sandlot_engine.catalog.functions import Prepared
    from sandlot_engine.catalog.tenants import Tenants
    from sandlot_engine.events.endpoints import EndpointAccess
    from sandlot_engine.gateway.aws.buckets import BucketAccess
    from sandlot_engine.gateway.aws.call import Parts
    from sandlot_engine.gateway.ports import Backend, Catalog, EngineStatus, Runtime
    from sandlot_engine.gateway.urls.addresses import Addresses
    from sandlot_engine.invocation.invoker import Invoker
    from sandlot_engine.model.function import Function, Revision
    from sandlot_engine.node.launchers import Launchers
    from sandlot_engine.node.node import Node
    from sandlot_engine.scheduler.scheduler import Scheduler
    from sandlot_engine.store.sqlite import SqliteStore
    from sandlot_engine.triggers.parts import KeptTriggers, TriggerParts
    from sandlot_engine.workers.link import Link
    from sandlot_engine.workers.pool import Core

_FIRST_LAUNCHER_S = 30.0
log = logging.getLogger("sandlot")


def main() -> int:
    started = time.monotonic()
    config = EngineConfig.from_json(sys.argv[1])
    _give_up_root(config)
    to_operator = logging.StreamHandler(sys.stderr)
    to_operator.setFormatter(Plain("sandlot: %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[to_operator])
    # Its warnings are of what strangers send, as often as they like.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, started))


def _give_up_root(config: EngineConfig) -> None:
    if os.geteuid() == 0:
        needed = [Path(config.data), Path(sys.prefix), Path(sys.base_prefix)]
        needed += [Path(path) for path in sys.path if Path(path).is_dir()]
        needed += [Path(path) for path in (config.tls_cert, config.tls_key) if path]
        # What is made now, others have to walk through.
        os.umask(0o022)
        make_reachable(needed, uid=config.uid)
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
        async with _running(config) as facts:
            garbage.settle()
            _announce(config, facts, time.monotonic() - started)
            await stop.wait()
            log.info("draining")
    except asyncio.CancelledError:
        if not stop.was_asked:
            raise
        log.info("stopped before it was ready")
    except (_Refused, SandlotError, BaseExceptionGroup) as error:
        refused = _refusal_in(error)
        if refused is None:
            raise
        print(f"sandlot: {refused}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return EX_CONFIG
    return 0


class _Stop:
    """SIGTERM: ends the start, if there is one under way, or else the serving."""

    def __init__(self) -> None:
        self.was_asked = False
        self._starting = asyncio.current_task()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        if self._starting is not None and not self.was_asked:
            self._starting.cancel()
        self.was_asked = True
        self._asked.set()

    async def wait(self) -> None:
        self._starting = None
        await self._asked.wait()


class _Refused(Exception):
    pass


def _refusal_in(error: BaseException) -> Exception | None:
    """What the operator is to be told; task groups wrap what went through them."""
    if isinstance(error, BaseExceptionGroup):
        found = (_refusal_in(inner) for inner in error.exceptions)
        return next((refused for refused in found if refused is not None), None)
    return error if isinstance(error, _Refused | SandlotError) else None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the Ready line says."""

    grpc: str
    http: str
    mode: str
    given_up: list[str]
    weaker: list[str]
    """Layers in whose place something weaker is done."""


@asynccontextmanager
async def _running(config: EngineConfig) -> AsyncIterator[_Facts]:
    """All the parts, from the bottom up; undone from the top down."""
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
    from sandlot_engine.scheduler.scheduler import Scheduler
    from sandlot_engine.store.sqlite import SqliteStore
    from sandlot_engine.triggers.parts import KeptTriggers
    from sandlot_engine.workers.link import Link, Reclaiming

    data, clock, link = Path(config.data), SystemClock(), Link()
    known = Registry(parse_runtimes(config.runtimes), data / "runtimes" / FILE)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(SqliteStore.open(data / "sandlot.db"))
        tenants = await _tenants(data, store, link)
        launchers = Launchers(cell_files=_room().cell_files)
        await enter(launchers.listening(socket.socket(fileno=config.control)))
        build = partial(build_package, launchers)
        images = Images(launchers, config.image_dirs)
        codes = await enter(CodeStore(data / "code", build=build, images=images))
        node = _node(config, launchers, store, codes, tenants)
        hello = await _first_hello(launchers)
        # When nothing is started any more, and all that is started still lives.
        stack.push_async_callback(node.say_farewell)
        scheduler = await enter(
            Scheduler.running(
                NodeMachine(node),
                clock=clock,
                max_instances=min(config.scale.instances, _room().instances),
                max_standbys=config.scale.standbys,
                scaling=config.scale.scaling,
                idle_s=config.idle_s,
            )
        )
        kept = KeptTriggers.over(store)
        catalog = await enter(
            _catalog(config, store, codes, node, scheduler, tenants, known, kept, link)
        )
        functions = catalog.functions
        addresses = _addresses(config)
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
        endpoints = stack.enter_context(Endpoints(_endpoint_access(config)))
        await enter(
            Delivering(
                store,
                invoker.events,
                tell=endpoints.tell,
                check=invoker.dry_run,
                region=config.region,
            )
        )
        _watch(invoker, scheduler, node, store, link)
        triggers = _triggers(config, kept, catalog, invoker)
        await enter(triggers.running())
        backend = Backend(
            functions=functions,
            tenants=tenants,
            invoker=invoker,
            records=store,
            triggers=triggers,
            event_store=store,
            dead_letters=DeadLetters(store, invoker.events, settings_of),
            status=partial(_status, launchers, node, known),
            clock=clock,
            region=config.region,
            urls=catalog.urls,
            policies=catalog.policies,
            addresses=addresses,
            instances_of=scheduler.instances_of,
        )
        parts = Parts(
            catalog=catalog,
            region=config.region,
            buckets=Buckets(_bucket_access(config)),
            downloads=Downloads(clock),
            addresses=addresses,
        )
        if config.workers > 1:
            core = _core(backend, catalog, tenants, scheduler)
            gateways = _worker_gateways(config, backend, parts, launchers, core, link)
        else:
            gateways = _gateways(config, backend, parts, launchers)
        grpc, http = await enter(gateways)
        given_up = [layer.name for layer in hello.layers if layer.given_up]
        weaker = [r.name for r in hello.layers if not (r.holds or r.given_up)]
        yield _Facts(
            grpc=grpc, http=http, mode=hello.mode, given_up=given_up, weaker=weaker
        )


def _watch(
    invoker: "Invoker",
    scheduler: "Scheduler",
    node: "Node",
    store: "SqliteStore",
    link: "Link",
) -> None:
    """What parts count for themselves, for `/metrics`."""
    from sandlot_engine.events import readings

    invoker.metrics.watch(
        gauges={
            "running": (
                "Invocations that run now.",
                lambda: invoker.admission.total - link.unused,
            ),
            "instances_lent": (
                "Instances that workers have.",
                lambda: link.lent,
            ),
            "instances": ("Instances that live.", lambda: scheduler.instances),
            "standbys": (
                "Instances that nobody has used yet, ready for a cold start.",
                lambda: scheduler.standbys.there,
            ),
            "zygotes": ("Zygotes that live.", lambda: node.zygotes),
            "records_behind": (
                "Records that are not on disk yet.",
                lambda: store.counters.records_behind,
            ),
            **readings.gauges(invoker.events),
        },
        counters={
            **readings.counters(invoker.events),
            "idempotent_replays": (
                "Requests that were answered with an earlier one's answer.",
                lambda: invoker.once.replayed,
            ),
            "idempotent_answers_evicted": (
                "Answers that were forgotten before their time, for want of room.",
                lambda: invoker.once.evicted,
            ),
            "idempotent_answers_not_kept": (
                "Answers that the store could not take.",
                lambda: invoker.once.not_kept,
            ),
            "worker_restarts": (
                "Workers that were started in the place of one that died.",
                lambda: link.restarts,
            ),
            "provisioned_concurrency_invocations": (
                "Invocations on what is provisioned for their version.",
                lambda: invoker.admission.provisioned,
            ),
            "provisioned_concurrency_spillover_invocations": (
                "Invocations on demand, because all that is provisioned was in use.",
                lambda: invoker.admission.spilled,
            ),
            "held": (
                "Invocations that waited for a busy instance rather than a start.",
                lambda: scheduler.held,
            ),
            "standby_starts": (
                "Cold starts that were given a standby.",
                lambda: scheduler.standbys.taken,
            ),
            "log_lines_dropped": (
                "Lines of logs that writing was too slow for.",
                lambda: store.counters.log_lines_dropped,
            ),
            "log_lines_deleted": (
                "Lines of logs that made room for newer ones.",
                lambda: store.counters.log_lines_deleted,
            ),
        },
    )


@asynccontextmanager
async def _catalog(
    config: EngineConfig,
    store: "SqliteStore",
    codes: "CodeStore",
    node: "Node",
    scheduler: "Scheduler",
    tenants: "Tenants",
    known: Registry,
    kept_triggers: "KeptTriggers",
    link: "Link",
) -> AsyncIterator["Catalog"]:
    """Functions, and all that is kept of them and beside them."""
    from sandlot_engine.catalog.event_configs import EventConfigs, kept_event_configs
    from sandlot_engine.catalog.functions import Functions
    from sandlot_engine.catalog.mappings import Mappings, kept_mappings
    from sandlot_engine.catalog.policies import Policies, kept_policies
    from sandlot_engine.catalog.provisioned import (
        ProvisionedConcurrency,
        kept_provisioned,
    )
    from sandlot_engine.catalog.runtimes import Runtimes, kept_runtime_management
    from sandlot_engine.catalog.signing import (
        SigningConfigs,
        kept_signing_configs,
        kept_signings,
    )
    from sandlot_engine.catalog.urls import Urls, kept_urls
    from sandlot_engine.clock import SystemClock
    from sandlot_engine.gateway.ports import Catalog

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

    async def provision(function: "Function", count: int) -> int:
        revision = function.serving
        assert revision is not None  # noqa: S101 - it is active
        node.keep(function.tenant_id, revision.id, is_kept=count > 0)
        return await scheduler.provision(function, revision, count)

    def available(function: "Function") -> int:
        revision = function.serving
        return scheduler.provisioned(revision.id) if revision is not None else 0

    async with Functions(
        store,
        codes,
        clock=clock,
        runtimes=lambda: [
            one.name for one in known.usable.values() if not one.is_image
        ],
        prepare=partial(_prepare, node),
        retire=partial(_retire, node, scheduler, link),
        grant_network=tenants.grant_network,
        concurrency=tenants.concurrency,
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


def _triggers(
    config: EngineConfig,
    kept: "KeptTriggers",
    catalog: "Catalog",
    invoker: "Invoker",
) -> "TriggerParts":
    """What makes functions run without a caller, counted for `/metrics`."""
    from sandlot_engine.catalog.seal import Sealer
    from sandlot_engine.clock import SystemClock
    from sandlot_engine.triggers.directories import roots_of
    from sandlot_engine.triggers.parts import made_of

    parts = made_of(
        kept,
        catalog.functions,
        invoker,
        Sealer.open(Path(config.data) / "master.key"),
        clock=SystemClock(),
        region=config.region,
        roots=roots_of(config.watch_dirs),
    )
    invoker.metrics.watch(gauges=parts.gauges, counters=parts.counters)
    return parts


async def _tenants(data: Path, store: "SqliteStore", link: "Link") -> "Tenants":
    """With an operator among them, whose key is in the folder from the first start."""
    from sandlot_engine.catalog.seal import Sealer
    from sandlot_engine.catalog.tenants import Tenants
    from sandlot_engine.clock import SystemClock

    tenants = Tenants(
        store,
        Sealer.open(data / "master.key"),
        clock=SystemClock(),
        note_change=link.note_change,
    )
    first_key = await tenants.ensure_operator()
    if first_key is not None:
        key, secret = first_key
        _write_private(
            data / "operator.json",
            {
                "tenant_id": key.tenant_id,
                "access_key_id": key.id,
                "secret_access_key": secret,
            },
        )
    return tenants


def _node(
    config: EngineConfig,
    launchers: "Launchers",
    store: "SqliteStore",
    codes: "CodeStore",
    tenants: "Tenants",
) -> "Node":
    from sandlot_engine.node.instances import log_lines
    from sandlot_engine.node.node import MAX_ZYGOTES, Node

    return Node(
        launchers,
        unpack=partial(_unpack, codes),
        grant_network=tenants.grant_network,
        printed=lambda function, lines: store.append_log(
            function.tenant_id, function.name, log_lines("", lines)
        ),
        region=config.region,
        max_zygotes=min(MAX_ZYGOTES, _room().zygotes),
        memory_mb=config.scale.memory_mb,
    )


async def _unpack(codes: "CodeStore", revision: "Revision") -> bool:
    """Have the folders that a jail of the revision has mounted; whether there are
    extensions in its layers."""
    await codes.unpacked(revision.code, revision.config.runtime)
    await codes.opt(revision.config)
    return await codes.has_extensions(revision.config)


def _room() -> Room:
    return room_in(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


async def _first_hello(launchers: "Launchers") -> Hello:
    """What the first launcher finds. Raises `_Refused` where this machine cannot hold
    tenants' code, or no launcher comes to find that out."""
    try:
        await launchers.current(wait_s=_FIRST_LAUNCHER_S)
    except Unavailable as error:
        if launchers.hello is not None and (lacks := missing(launchers.hello.layers)):
            raise _Refused(_told(lacks)) from error
        raise _Refused(f"{launchers.trouble}; its messages are above") from error
    hello = launchers.hello
    assert hello is not None  # noqa: S101
    for layer in hello.layers:
        if layer.given_up:
            log.warning(
                "running WITHOUT %s, as asked: stops %s", layer.name, layer.stops
            )
        elif not layer.holds:
            log.warning("running without %s", _row(layer))
    return hello


def _told(lacking: list[Layer]) -> str:
    rows = "\n".join(f"  {_row(layer)}" for layer in lacking)
    return (
        "this machine cannot enforce what tenants must be held to:\n"
        f"{rows}\nSee `sandlot doctor`. What can be done without, by"
        f" --insecure=LAYER,…: {', '.join(sorted(CAN_BE_GIVEN_UP))}."
    )


def _row(layer: Layer) -> str:
    return f"{layer.name}: stops {layer.stops}. {layer.detail}".rstrip()


async def _prepare(
    node: "Node", function: "Function", revision: "Revision", _: Path
) -> "Prepared":
    from sandlot_engine.catalog.functions import Prepared

    reason = await node.host(function, revision).prepare()
    return Prepared(fork_safe=not reason, reason=reason)


async def _retire(
    node: "Node",
    scheduler: "Scheduler",
    link: "Link",
    _tenant: str,
    _name: str,
    revision: str,
) -> None:
    link.recall_revision(revision)
    await scheduler.drain(revision)
    node.retire(revision)


@asynccontextmanager
async def _gateways(
    config: EngineConfig,
    backend: "Backend",
    parts: "Parts",
    launchers: "Launchers",
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
            max_connections=min(MAX_CONNECTIONS, _room().connections // 2),
        ) as port,
        serve_http(
            backend,
            parts,
            address=config.http,
            trouble=lambda: launchers.trouble,
            max_connections=min(connections.MAX_CONNECTIONS, _room().connections // 2),
        ) as http_port,
    ):
        host = config.grpc.rpartition(":")[0]
        http_host = config.http.rpartition(":")[0]
        backend.addresses.note_served_at(http_host, http_port)
        yield f"{host}:{port}", f"http://{http_host}:{http_port}"


def _addresses(config: EngineConfig) -> "Addresses":
    from sandlot_engine.gateway.urls.addresses import Addresses, is_public_url

    if config.public_url and not is_public_url(config.public_url):
        raise _Refused(
            f"--public-url {config.public_url!r} is not http(s)://HOST[:PORT][/PATH], "
            "with one * at most"
        )
    return Addresses(config.public_url, region=config.region)


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
    launchers: "Launchers",
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
        router=Router(backend, parts, lambda: launchers.trouble),
        link=link,
        config=config,
        connections=_room().connections // 2 // config.workers,
    ) as (port, http_port):
        host = config.grpc.rpartition(":")[0]
        http_host = config.http.rpartition(":")[0]
        backend.addresses.note_served_at(http_host, http_port)
        yield f"{host}:{port}", f"http://{http_host}:{http_port}"


def _bucket_access(config: EngineConfig) -> "BucketAccess | None":
    """By the environment, as S3's own tools have it: a command line has no secrets."""
    from sandlot_engine.gateway.aws.buckets import BucketAccess

    if not config.s3_endpoint:
        return None
    return BucketAccess(
        endpoint=config.s3_endpoint,
        access_key_id=os.environ.get("S3_ACCESS_KEY_ID", ""),
        secret_access_key=os.environ.get("S3_SECRET_ACCESS_KEY", ""),
        region=config.region,
    )


def _endpoint_access(config: EngineConfig) -> "EndpointAccess":
    """By the environment, as for the store of packages."""
    from sandlot_engine.events.endpoints import EndpointAccess

    return EndpointAccess(
        urls=config.destinations,
        access_key_id=os.environ.get("DESTINATION_ACCESS_KEY_ID", ""),
        secret_access_key=os.environ.get("DESTINATION_SECRET_ACCESS_KEY", ""),
        region=config.region,
    )


async def _status(
    launchers: "Launchers", node: "Node", known: Registry
) -> "EngineStatus":
    from sandlot_engine.gateway.ports import EngineStatus, IsolationLayer

    hello = launchers.hello
    assert hello is not None, "nothing is served before the first launcher"  # noqa: S101
    return EngineStatus(
        version=_version(),
        mode=hello.mode,
        layers=tuple(
            IsolationLayer(
                name=layer.name,
                stops=layer.stops,
                holds=layer.holds,
                detail=layer.detail,
                given_up=layer.given_up,
            )
            for layer in hello.layers
        ),
        runtimes=_runtimes(known),
        zygotes=node.zygotes,
        instances=node.instances,
    )


def _runtimes(known: Registry) -> "tuple[Runtime, ...]":
    """What can be used, and of what is registered, what cannot."""
    from sandlot_engine.gateway.ports import Runtime

    registered = {entry.name: entry for entry in known.registered}
    usable = [
        Runtime(
            name=one.name,
            version=one.version,
            is_program=bool(one.runs),
            path=registered[one.name].path if one.name in registered else one.outside,
            is_registered=one.name in registered,
        )
        for one in known.usable.values()
        if not one.is_image
    ]
    broken = [
        Runtime(
            name=entry.name,
            version="",
            is_program=not entry.name.startswith("python"),
            path=entry.path,
            is_registered=True,
            problem=entry.problem,
        )
        for entry in registered.values()
        if entry.runtime is None
    ]
    return (*usable, *broken)


def _announce(config: EngineConfig, facts: _Facts, took_s: float) -> None:
    """Write where we are for the other commands, then the line that tools wait for."""
    data = Path(config.data)
    credentials = data / "operator.json"
    pid = config.supervisor_pid
    _write_private(
        data / "engine.json",
        {
            "grpc": facts.grpc,
            "http": facts.http,
            "pid": pid,
            "tls": bool(config.tls_cert),
        },
    )
    if config.as_json:
        line = json.dumps(
            {
                "http": facts.http,
                "grpc": facts.grpc,
                "pid": pid,
                "credentials_file": str(credentials),
            }
            | ({"isolation_given_up": facts.given_up} if facts.given_up else {})
            | ({"isolation_weaker": facts.weaker} if facts.weaker else {})
        )
    else:
        without = f" WITHOUT {', '.join(facts.given_up)}" if facts.given_up else ""
        less = f" with {', '.join(facts.weaker)} weaker" if facts.weaker else ""
        line = (
            f"Ready in {took_s:.1f} s · grpc {facts.grpc} · {facts.http}"
            f" · {facts.mode}{without}{less} · data {data}"
        )
    print(line, flush=True)  # noqa: T201 - the one line on stdout


def _version() -> str:
    try:
        return importlib.metadata.version("sandlot")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _write_private(path: Path, value: dict[str, object]) -> None:
    """Whole or not at all, for its owner alone."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(value, file)
        file.write("\n")
    temporary.rename(path)


if __name__ == "__main__":
    sys.exit(main())
