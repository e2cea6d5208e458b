"""The gRPC server: services, limits, health, reflection, TLS, and its end.

    async with serve(backend, address="127.0.0.1:0") as port:
        ...

Reflection shows nothing but the published protos; on loopback it needs no key, so
that `grpcurl` works at once.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from sandlot.v1 import (
    concurrency_pb2,
    concurrency_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    functions_pb2,
    functions_pb2_grpc,
    invocations_pb2,
    invocations_pb2_grpc,
    layers_pb2,
    layers_pb2_grpc,
    permissions_pb2,
    permissions_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    triggers_pb2,
    triggers_pb2_grpc,
    urls_pb2,
    urls_pb2_grpc,
    versions_pb2,
    versions_pb2_grpc,
)
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.auth import Authenticator
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc.billing import BillingService
from sandlot_engine.gateway.rpc.concurrency import ConcurrencyService
from sandlot_engine.gateway.rpc.door import QUIET_S, Door
from sandlot_engine.gateway.rpc.engine import EngineService
from sandlot_engine.gateway.rpc.events import EventService
from sandlot_engine.gateway.rpc.functions import FunctionService
from sandlot_engine.gateway.rpc.interceptors import Steps
from sandlot_engine.gateway.rpc.invocations import InvocationService
from sandlot_engine.gateway.rpc.layers import LayerService
from sandlot_engine.gateway.rpc.limits import MAX_UPLOAD
from sandlot_engine.gateway.rpc.listeners import Tls, serving
from sandlot_engine.gateway.rpc.methods import Methods
from sandlot_engine.gateway.rpc.permissions import PermissionService
from sandlot_engine.gateway.rpc.tenants import TenantService
from sandlot_engine.gateway.rpc.triggers import TriggerService
from sandlot_engine.gateway.rpc.urls import UrlService
from sandlot_engine.gateway.rpc.versions import VersionService
from sandlot_engine.model.invocation import MAX_RESPONSE

DRAIN_S = 30.0
"""How long open calls may go on when the server stops."""

MAX_WAITING = 2_048
"""Calls that a listener has and the loop has not come to: all of one connection's, and
as much memory as `UNREAD` for each. By itself grpc would end some at random, as
CANCELLED, as soon as there are 1,000: also those of tenants who have one."""

MAX_STREAMS = 2_000
"""Calls of one connection."""

MAX_SENT = MAX_RESPONSE + 64 * 1024
"""Bytes of a message to a client: the largest answer, and the rest."""

KEEPALIVE_S = 60
"""An idle connection is tried this often, so that dead peers' streams end."""

KEEPALIVE_TIMEOUT_S = 20
MIN_PING_INTERVAL_S = 10
"""Clients that ping more often are sent away."""

UNREAD = 64 * 1024
"""Bytes of a call that may come before anybody reads them."""

MAX_CONNECTIONS = 10_000
"""Connections at once; the next one is closed. Where open files are few, fewer."""

HANDSHAKE_S = 10
"""In which a connection has to become one of HTTP/2, by way of TLS where there is."""

MAX_IDLE_S = 20
"""How long one may be open without a call. Anybody may open one: what a key is, only a
call tells, and who has none is refused at once. A client connects again by itself."""

SERVICE_NAMES = tuple(
    service.full_name
    for file in (
        *(concurrency_pb2, events_pb2, functions_pb2, invocations_pb2),
        *(layers_pb2, permissions_pb2, tenants_pb2, triggers_pb2, urls_pb2),
        versions_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
)
"""`sandlot.v1.…`, all of them."""


@asynccontextmanager
async def serve(
    backend: Backend,
    *,
    address: str,
    tls: Tls | None = None,
    allow_plaintext: bool = False,
    max_connections: int = MAX_CONNECTIONS,
    drain_s: float = DRAIN_S,
    first: tuple[grpc.aio.ServerInterceptor, ...] = (),
    draining: asyncio.Event | None = None,
) -> AsyncIterator[int]:
    """Serve on `HOST:PORT` and give the port, which is a free one for port 0.

    Without `tls` only loopback addresses are served, unless `allow_plaintext`:
    keys travel in every call. Raises `InvalidParameter` otherwise, `Unavailable`
    where the address is taken.

    `first` comes before all that happens around a call. With `draining`, streams that
    could last for ever are asked to end when that is set, if that is sooner.

    At the end new calls are refused, streams that could last for ever are asked to
    end, and the others may go on for `drain_s`; then they are cut short.
    """
    check_address(address, tls, allow_plaintext=allow_plaintext)
    draining = draining or asyncio.Event()
    door = Door()
    steps = Steps(
        Authenticator(backend.tenants),
        backend.clock,
        door,
        public=public_methods(address),
    )
    methods = Methods()
    _add_services(methods, backend, draining)
    health_servicer = await _add_health(methods)
    async with serving(
        partial(make_server, methods, (*first, steps)),
        address=address,
        tls=tls,
        max_connections=max_connections,
        drain_s=drain_s,
        cut_short=steps.open.cut_short,
    ) as port:
        try:
            yield port
        finally:
            draining.set()
            await health_servicer.enter_graceful_shutdown()
            await door.close(quiet_s=min(QUIET_S, drain_s / 100))
            steps.open.send_strangers_away()


def make_server(
    methods: grpc.GenericRpcHandler,
    interceptors: tuple[grpc.aio.ServerInterceptor, ...],
    connections: int,
    is_shared: bool,
) -> grpc.aio.Server:
    """One listener's, with at most so many connections."""
    server = grpc.aio.server(
        interceptors=interceptors,
        options=server_options(connections, is_shared=is_shared),
    )
    server.add_generic_rpc_handlers((methods,))
    return server


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `HOST:PORT`. Names other than
    `localhost` are not looked up: what they mean may change."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(address: str, tls: object | None, *, allow_plaintext: bool) -> None:
    """Raise `InvalidParameter` where keys would travel in the clear."""
    if tls is None and not allow_plaintext and not is_loopback(address):
        raise InvalidParameter(
            f"{address} can be reached from other machines, and keys would travel in "
            "the clear: give --tls-cert and --tls-key, or --allow-plaintext",
            field="grpc",
        )


def public_methods(address: str) -> tuple[str, ...]:
    """Prefixes of those that need no key, where that is served."""
    health = ("/grpc.health.",)
    return (*health, "/grpc.reflection.") if is_loopback(address) else health


def server_options(
    max_connections: int, *, is_shared: bool = False
) -> tuple[tuple[str, int], ...]:
    """With `is_shared`, it is not the only one on its port."""
    return (
        ("grpc.max_receive_message_length", MAX_UPLOAD),
        ("grpc.max_send_message_length", MAX_SENT),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Not declared in grpc's header: its server.h has both.
        ("grpc.server.max_pending_requests", MAX_WAITING),
        ("grpc.server.max_pending_requests_hard_limit", MAX_WAITING),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.max_connection_idle_ms", round(MAX_IDLE_S * 1_000)),
        ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_S * 1_000)),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1_000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        (
            "grpc.http2.min_recv_ping_interval_without_data_ms",
            MIN_PING_INTERVAL_S * 1_000,
        ),
        # Or what nobody has read yet may be as much as a fast network carries in a
        # moment: forty packages. What is being read has as much room as it is long.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", UNREAD),
        # By default a second engine on the same port would get half the calls.
        ("grpc.so_reuseport", int(is_shared)),
    )


def _add_services(methods: Methods, backend: Backend, draining: asyncio.Event) -> None:
    concurrency_pb2_grpc.add_ConcurrencyServiceServicer_to_server(
        ConcurrencyService(backend), methods
    )
    events_pb2_grpc.add_EventServiceServicer_to_server(
        EventService(backend, draining), methods
    )
    functions_pb2_grpc.add_FunctionServiceServicer_to_server(
        FunctionService(backend), methods
    )
    invocations_pb2_grpc.add_InvocationServiceServicer_to_server(
        InvocationService(backend, draining), methods
    )
    layers_pb2_grpc.add_LayerServiceServicer_to_server(LayerService(backend), methods)
    permissions_pb2_grpc.add_PermissionServiceServicer_to_server(
        PermissionService(backend), methods
    )
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(
        TenantService(backend), methods
    )
    tenants_pb2_grpc.add_BillingServiceServicer_to_server(
        BillingService(backend), methods
    )
    tenants_pb2_grpc.add_EngineServiceServicer_to_server(
        EngineService(backend), methods
    )
    urls_pb2_grpc.add_UrlServiceServicer_to_server(UrlService(backend), methods)
    versions_pb2_grpc.add_VersionServiceServicer_to_server(
        VersionService(backend), methods
    )
    triggers_pb2_grpc.add_TriggerServiceServicer_to_server(
        TriggerService(backend), methods
    )
    # Not `enable_server_reflection`, which takes what is no server for a sync one.
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
        reflection.aio.ReflectionServicer(
            (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        ),
        methods,
    )


async def _add_health(methods: Methods) -> health.aio.HealthServicer:
    """Health of each service, and of the whole under the empty name."""
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, methods)
    for name in ("", *SERVICE_NAMES):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return servicer
