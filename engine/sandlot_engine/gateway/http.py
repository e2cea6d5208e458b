"""The HTTP port: AWS Lambda's API, function URLs, and whether the engine is well.

/20YY-MM-DD/…   AWS Lambda's API; see `gateway/aws`
/url/ID/…       function URLs, which have host names as well; see `gateway/urls`
/schedules…     EventBridge Scheduler's; see `gateway/aws/scheduler`
/               STS's `GetCallerIdentity`, by a form; see `gateway/aws/identity`
/hooks/…        what others post, to run functions; see `gateway/hooks`
/healthz        whether functions can be run, and how isolated they are
/metrics        how busy it is, for Prometheus: for the machine, and for operators
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from starlette.responses import JSONResponse, Response

from sandlot_engine.errors import (
    CutShort,
    InvalidParameter,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from sandlot_engine.gateway.auth import Authenticator, require_operator
from sandlot_engine.gateway.aws.app import AwsApp, is_aws
from sandlot_engine.gateway.aws.call import Parts
from sandlot_engine.gateway.aws.identity import IdentityApp, is_identity
from sandlot_engine.gateway.aws.receiving import (
    Receive,
    Scope,
    Send,
    is_of_this_machine,
)
from sandlot_engine.gateway.aws.scheduler.app import SchedulerApp, is_scheduler
from sandlot_engine.gateway.connections import (
    KEY,
    MAX_CONNECTIONS,
    Connection,
    limited_to,
)
from sandlot_engine.gateway.headers import fold
from sandlot_engine.gateway.hooks import HookApp, is_hook
from sandlot_engine.gateway.others import refuse, service_of
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.urls.addresses import addressed
from sandlot_engine.gateway.urls.app import UrlApp
from sandlot_engine.gateway.urls.ports import Answering
from sandlot_engine.metrics import CONTENT_TYPE
from sandlot_engine.model.network import Network

_OF_A_PROXY = frozenset(
    (
        *(b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host"),
        *(b"x-forwarded-proto", b"x-real-ip"),
    )
)
"""Headers of which a proxy adds some: what has one is not from where it was sent by."""

App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI callable."""

BACKLOG = 4_096
"""Connections that the kernel has accepted and we have not. As many as it allows."""

KEEP_ALIVE_S = 60
"""How long a connection may wait for its next request."""

DRAIN_S = 15
"""How long open requests may go on when the server stops. After it gRPC drains, then
the events: the supervisor's patience is for all of them."""


@asynccontextmanager
async def serve(
    backend: Backend,
    parts: Parts,
    *,
    address: str,
    trouble: Callable[[], str],
    max_connections: int = MAX_CONNECTIONS,
    drain_s: int = DRAIN_S,
    answering: Answering | None = None,
) -> AsyncIterator[int]:
    """Serve on `HOST:PORT` and give the port, which is a free one for port 0.

    `trouble` says why no function can be run now, and is empty where they can.
    `answering` is where answers of function URLs come from, if not from the invoker.
    Raises `InvalidParameter` for what is no address, `Unavailable` where it is taken.
    """
    router = Router(backend, parts, trouble, answering)
    listener = listen(address)
    async with serve_app(
        router, listener, max_connections=max_connections, drain_s=drain_s
    ):
        yield int(listener.getsockname()[1])


@asynccontextmanager
async def serve_app(
    app: App,
    listener: socket.socket,
    *,
    max_connections: int = MAX_CONNECTIONS,
    drain_s: int = DRAIN_S,
) -> AsyncIterator[None]:
    """Serve an ASGI callable on a socket that is bound.

    At the end no new request is taken, and those that are open may go on for `drain_s`;
    then they are cut short.
    """
    protocol = limited_to(max_connections)
    server = _Server(
        uvicorn.Config(
            Cancelling(app),
            http=protocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            # Whoever can reach us could forge these headers: where a request came from
            # is decided by its connection alone.
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=drain_s,
        ),
        lost=protocol.lost,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.stop()


class _Server(uvicorn.Server):
    """uvicorn's, which looks ten times a second whether it is to end, and whether all
    is done then. Here it is told."""

    def __init__(self, config: uvicorn.Config, *, lost: asyncio.Event) -> None:
        super().__init__(config)
        self._lost = lost
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the engine's business."""
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(_MAKES_DATE):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_S):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                await self._wait_served()
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()

    async def _wait_served(self) -> None:
        while self.server_state.connections:
            self._lost.clear()
            await self._lost.wait()
        while self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)
        for server in self.servers:
            await server.wait_closed()


_MAKES_DATE = 0
"""A tick, of all that there are, with which uvicorn makes the answers' date anew."""

_DATE_S = 1.0
"""How long that date stays."""


class Cancelling:
    """An ASGI callable around another: what that does for a caller who has gone, or
    for longer than a stop waits, is cancelled."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope[KEY]
        connection.serving = asyncio.current_task()
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            cycle = cast("Any", receive).__self__
            if connection.is_cut_short and not connection.is_lost:
                if not cycle.response_started:
                    await _cut_short()(scope, receive, send)
                    return
                if not cycle.response_complete:
                    # The client is to see that there is more to it.
                    connection.transport.abort()
            elif not connection.is_lost:
                raise
            # The caller is gone, which was what the cancellation said. What it asked
            # for has been undone on the way here; nobody is to be told. uvicorn knows
            # it of the last of several requests alone, and would write an answer.
            cycle.disconnected = True
        finally:
            connection.serving = None


def _cut_short() -> Response:
    """For everybody: AWS's clients read it, and so do people."""
    cut = CutShort()
    return JSONResponse(
        {"Type": "Service", "Message": cut.message},
        status_code=500,
        headers={"x-amzn-errortype": cut.aws},
    )


class Router:
    """An ASGI callable: whose request is it?"""

    def __init__(
        self,
        backend: Backend,
        parts: Parts,
        trouble: Callable[[], str],
        answering: Answering | None = None,
    ) -> None:
        self._backend = backend
        self._trouble = trouble
        self._authenticator = Authenticator(backend.tenants)
        self._aws = AwsApp(backend, parts)
        self._urls = UrlApp(
            backend,
            parts.catalog,
            self._aws.receiver,
            backend.addresses,
            answering=answering,
        )
        triggers = backend.triggers
        self._scheduler = SchedulerApp(
            self._aws.receiver,
            triggers.triggers,
            triggers.groups,
            backend.clock,
            region=backend.region,
        )
        self._identity = IdentityApp(self._aws.receiver)
        self._hooks = HookApp(triggers.hooks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if found := addressed(_host(scope), scope["raw_path"]):
            await self._urls(
                scope, receive, send, addressed=found, connection=scope[KEY]
            )
        elif is_aws(scope["raw_path"]) and not self._aws.is_of_another(scope):
            await self._aws(scope, receive, send)
        elif is_hook(scope["raw_path"]):
            await self._hooks(scope, receive, send)
        elif is_scheduler(scope["raw_path"]):
            await self._scheduler(scope, receive, send)
        elif is_identity(scope):
            await self._identity(scope, receive, send)
        else:
            response = await self._respond(scope)
            await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        path = scope["path"]
        if path not in ("/healthz", "/metrics"):
            headers = fold(scope["headers"])
            if service := service_of(headers, scope["query_string"]):
                return refuse(service, headers)
            return JSONResponse(
                {
                    "message": "there is nothing here: this port serves AWS Lambda's "
                    "API (set AWS_ENDPOINT_URL_LAMBDA to it), EventBridge Scheduler's "
                    "(AWS_ENDPOINT_URL_SCHEDULER), function URLs under /url/, /hooks, "
                    "/healthz and /metrics"
                },
                status_code=404,
            )
        if scope["method"] not in ("GET", "HEAD"):
            return JSONResponse(
                {"message": f"{path} cannot be {scope['method']}"},
                status_code=405,
                headers={"allow": "GET, HEAD"},
            )
        return await (self._health() if path == "/healthz" else self._metrics(scope))

    async def _metrics(self, scope: Scope) -> Response:
        """A tenant is not to learn how busy the engine is: see `GetStatus`."""
        headers = fold(scope["headers"])
        if not is_of_this_machine(scope) or headers.keys() & _OF_A_PROXY:
            authorization = headers.get(b"authorization", b"")
            try:
                caller = await self._authenticator.caller_of(
                    authorization.decode("latin-1")
                )
                require_operator(caller)
            except (Unauthenticated, PermissionDenied) as error:
                return JSONResponse({"message": error.message}, status_code=403)
        metrics = self._backend.invoker.metrics
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def _health(self) -> JSONResponse:
        status = await self._backend.status()
        given_up = [layer.name for layer in status.layers if layer.given_up]
        weaker = [layer.name for layer in status.layers if layer.is_weaker]
        on_host_network = self._backend.functions.count_by_network(Network.HOST)
        why = self._trouble()
        told: dict[str, Any] = (
            ({"status": "unavailable", "reason": why} if why else {"status": "ok"})
            | {"version": status.version, "mode": status.mode}
            | {"isolation_given_up": given_up, "isolation_weaker": weaker}
            | {"functions_on_host_network": sum(on_host_network.values())}
            | {"instances": status.instances, "zygotes": status.zygotes}
        )
        return JSONResponse(told, status_code=503 if why else 200)


def _host(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"host":
            host: bytes = value
            return host
    return b""


def listen(
    address: str, *, serves: str = "HTTP", is_shared: bool = False
) -> socket.socket:
    """A socket on `HOST:PORT`; with `is_shared`, one of several, each in a process.
    What it `serves` is for what is said where there can be none.

    Raises `InvalidParameter` for what is no address, `Unavailable` where it is taken.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidParameter(f"{address!r} is not HOST:PORT", field=serves.lower())
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host.strip("[]"), int(port)),
            family=family,
            backlog=BACKLOG,
            reuse_port=is_shared,
        )
    except OSError as error:
        # Without the address, which Python repeats there.
        why = str(error.strerror or error).partition(" (while ")[0]
        mend = _MENDS.get(error.errno or 0, _MEND)
        raise Unavailable(
            f"cannot serve {serves} on {address}: {why}. {mend} give"
            f" --{serves.lower()} another HOST:PORT"
        ) from error


_MENDS = {
    errno.EADDRINUSE: "Stop what listens there, or",
    errno.EACCES: "Ports below 1024 are root's, which the engine is not;",
}
_MEND = "Is that an address of this machine? If not,"
