"""The core's gateways where there are workers: those serve, and it serves them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from sandlot_engine.gateway import connections as http_connections
from sandlot_engine.gateway.http import App, listen, serve_app
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc.server import MAX_CONNECTIONS, check_address, serve
from sandlot_engine.workers.forward_grpc import ReadLedgers
from sandlot_engine.workers.forward_http import FromWorkers
from sandlot_engine.workers.link import Link
from sandlot_engine.workers.pool import Core, Pool
from sandlot_engine.workers.settings import (
    CORE_GRPC,
    CORE_HTTP,
    WorkerSettings,
    core_path,
)


class Config(Protocol):
    """Of the engine's options, those that gateways need."""

    @property
    def data(self) -> str: ...
    @property
    def http(self) -> str: ...
    @property
    def grpc(self) -> str: ...
    @property
    def tls_cert(self) -> str: ...
    @property
    def tls_key(self) -> str: ...
    @property
    def allow_plaintext(self) -> bool: ...
    @property
    def region(self) -> str: ...


@asynccontextmanager
async def workers_serving(
    count: int,
    *,
    core: Core,
    backend: Backend,
    router: App,
    link: Link,
    config: Config,
    connections: int,
) -> AsyncIterator[tuple[int, int]]:
    """The ports of gRPC and HTTP. Raises as `serve` of either does."""
    check_address(
        config.grpc, config.tls_cert or None, allow_plaintext=config.allow_plaintext
    )
    draining = asyncio.Event()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = os.open(config.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        for name in (CORE_HTTP, CORE_GRPC):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)  # an engine's that was killed
            stack.callback(_remove, Path(config.data) / name)
        await enter(
            serve_app(
                FromWorkers(router, link.read_ledgers),
                _listen_privately(core_path(folder, CORE_HTTP)),
            )
        )
        await enter(
            serve(
                backend,
                address=f"unix:{core_path(folder, CORE_GRPC)}",
                first=(ReadLedgers(link.read_ledgers),),
                draining=draining,
            )
        )
        http, grpc = _hold_port(config.http), _hold_port(config.grpc)
        stack.callback(http.close)
        stack.callback(grpc.close)
        settings = WorkerSettings(
            http=_at_port(config.http, http),
            grpc=_at_port(config.grpc, grpc),
            tls_cert=config.tls_cert,
            tls_key=config.tls_key,
            region=config.region,
            http_connections=min(http_connections.MAX_CONNECTIONS, connections),
            grpc_connections=min(MAX_CONNECTIONS, connections),
            folder=folder,
        )
        link.pool = await enter(Pool.running(core, settings, count))
        # Before workers wait for what they forwarded.
        stack.callback(draining.set)
        yield grpc.getsockname()[1], http.getsockname()[1]


def _listen_privately(path: str) -> socket.socket:
    """The engine's umask lets nobody else in."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    return listener


def _hold_port(address: str) -> socket.socket:
    """A socket that takes a port for the workers', and hears nothing itself.

    Raises `Unavailable` where another process has it: one that shares it, too.
    """
    alone = listen(address)
    port = alone.getsockname()[1]
    alone.close()
    host = address.rpartition(":")[0].strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


def _at_port(address: str, held: socket.socket) -> str:
    return f"{address.rpartition(':')[0]}:{held.getsockname()[1]}"


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
