"""The HTTP port. Today it only tells whether the engine is well: `/healthz`."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandlot_engine.errors import InvalidParameter, Unavailable
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.model.network import Network

_BACKLOG = 1_024
_DRAIN_S = 5
"""How long open requests may go on when the server stops."""


@asynccontextmanager
async def serve(
    backend: Backend, *, address: str, trouble: Callable[[], str]
) -> AsyncIterator[int]:
    """Serve on `HOST:PORT` and give the port, which is a free one for port 0.

    `trouble` says why no function can be run now, and is empty where they can.
    Raises `InvalidParameter` for what is no address, `Unavailable` where it is taken.
    """
    listener = _listen(address)
    server = _Server(
        uvicorn.Config(
            _application(backend, trouble),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_DRAIN_S,
        )
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the engine's business."""
        yield


def _application(backend: Backend, trouble: Callable[[], str]) -> Starlette:
    async def healthz(_: Request) -> JSONResponse:
        status = await backend.status()
        given_up = [layer.name for layer in status.layers if layer.given_up]
        weaker = [layer.name for layer in status.layers if layer.is_weaker]
        on_host_network = backend.functions.count_by_network(Network.HOST)
        why = trouble()
        return JSONResponse(
            ({"status": "unavailable", "reason": why} if why else {"status": "ok"})
            | {"version": status.version, "mode": status.mode}
            | {"isolation_given_up": given_up, "isolation_weaker": weaker}
            | {"functions_on_host_network": sum(on_host_network.values())}
            | {"instances": status.instances, "zygotes": status.zygotes},
            status_code=503 if why else 200,
        )

    async def refuse(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse(
            {
                "message": "there is nothing here: /healthz is all that this port"
                " serves yet; functions are invoked over gRPC"
            },
            status_code=404,
        )

    return Starlette(
        routes=[Route("/healthz", healthz)], exception_handlers={404: refuse}
    )


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidParameter(f"{address!r} is not HOST:PORT", field="http")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host.strip("[]"), int(port)), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise Unavailable(f"cannot serve HTTP on {address}: {error}") from error
