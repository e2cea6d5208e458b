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
from sandlot_engine.gateway.http import App, serve_app
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc.listeners import port_held
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
        http = stack.enter_context(port_held(config.http, serves="HTTP"))
        grpc = stack.enter_context(port_held(config.grpc, serves="gRPC"))
        settings = WorkerSettings(
            http=http,
            grpc=grpc,
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
        yield int(grpc.rpartition(":")[2]), int(http.rpartition(":")[2])


def _listen_privately(path: str) -> socket.socket:
    """The engine's umask lets nobody else in."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    return listener


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
