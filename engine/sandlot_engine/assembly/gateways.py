"""The engine's own gateways: gRPC and HTTP in its process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sandlot_engine.assembly.machine import room
from sandlot_engine.gateway.aws.call import Parts
from sandlot_engine.gateway.connections import MAX_CONNECTIONS as MAX_HTTP_CONNECTIONS
from sandlot_engine.gateway.http import serve as serve_http
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc.listeners import Tls
from sandlot_engine.gateway.rpc.server import MAX_CONNECTIONS as MAX_GRPC_CONNECTIONS
from sandlot_engine.gateway.rpc.server import serve as serve_grpc
from sandlot_engine.options import EngineConfig


@asynccontextmanager
async def gateways(
    config: EngineConfig,
    backend: Backend,
    parts: Parts,
    trouble: Callable[[], str],
) -> AsyncIterator[tuple[str, str]]:
    """Where gRPC and HTTP are served."""
    tls = None
    if config.tls_cert:
        tls = Tls(
            certificate=await asyncio.to_thread(Path(config.tls_cert).read_bytes),
            key=await asyncio.to_thread(Path(config.tls_key).read_bytes),
        )
    async with (
        serve_grpc(
            backend,
            address=config.grpc,
            tls=tls,
            allow_plaintext=config.allow_plaintext,
            # The other half is HTTP's.
            max_connections=min(MAX_GRPC_CONNECTIONS, room().connections // 2),
        ) as port,
        serve_http(
            backend,
            parts,
            address=config.http,
            trouble=trouble,
            max_connections=min(MAX_HTTP_CONNECTIONS, room().connections // 2),
        ) as http_port,
    ):
        yield served_at(config, backend, port, http_port)


def served_at(
    config: EngineConfig, backend: Backend, port: int, http_port: int
) -> tuple[str, str]:
    """The addresses of gRPC and HTTP; function URLs are told theirs."""
    host = config.grpc.rpartition(":")[0]
    http_host = config.http.rpartition(":")[0]
    backend.addresses.note_served_at(http_host, http_port)
    return f"{host}:{port}", f"http://{http_host}:{http_port}"
