"""What anybody may have of a server who can reach its port."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sandlot import AsyncClient, Client
from sandlot.config import Where
from sandlot.transport import IDLE_MS, OPTIONS
from sandlot_engine.gateway.rpc import server as module
from sandlot_engine.workers import forward_grpc
from tests.fakes.backend import FakeEngine, fake_engine

KEY: Where = {
    "access_key_id": "key-of-acme",
    "secret_access_key": "key-of-acme-secret",
}
WAIT_S = 10.0
BRIEFLY_S = 0.2
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeEngine]:
    monkeypatch.setattr(module, "MAX_IDLE_S", BRIEFLY_S)
    monkeypatch.setattr(module, "HANDSHAKE_S", BRIEFLY_S)
    async with fake_engine(max_connections=3) as engine:
        yield engine


async def is_closed(connection: socket.socket) -> bool:
    """Whether the server hangs up, whatever it has said before; in time or never."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(WAIT_S):
            while await loop.sock_recv(connection, 4_096):
                pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


async def connected(engine: FakeEngine, opened: ExitStack) -> socket.socket:
    connection = opened.enter_context(socket.socket())
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", engine.port))
    return connection


@pytest.mark.parametrize("said", [b"", PREFACE], ids=["nothing", "HTTP/2"])
async def test_a_connection_without_a_call_is_closed(
    engine: FakeEngine, said: bytes
) -> None:
    with ExitStack() as opened:
        connection = await connected(engine, opened)
        await asyncio.get_running_loop().sock_sendall(connection, said)

        assert await is_closed(connection)


async def test_there_are_only_so_many_connections(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IDLE_S", 60.0)
    monkeypatch.setattr(module, "HANDSHAKE_S", 60.0)
    async with fake_engine(max_connections=3) as engine:
        with ExitStack() as opened:
            some = [await connected(engine, opened) for _ in range(3)]
            for connection in some:
                await asyncio.get_running_loop().sock_sendall(connection, PREFACE)
                await asyncio.get_running_loop().sock_recv(connection, 9)

            assert await is_closed(await connected(engine, opened))


async def test_a_client_whose_connection_was_closed_connects_again(
    engine: FakeEngine,
) -> None:
    async with AsyncClient(f"127.0.0.1:{engine.port}", **KEY) as client:
        for _ in range(3):
            await client.status()
            await none_is_open(engine)


async def test_a_blocking_client_whose_connection_was_closed_connects_again(
    engine: FakeEngine,
) -> None:
    with Client(f"127.0.0.1:{engine.port}", **KEY) as client:
        for _ in range(3):
            await asyncio.to_thread(client.status)
            await none_is_open(engine)


@pytest.mark.parametrize(
    ("options", "idle_ms"),
    [(OPTIONS, IDLE_MS), (forward_grpc.OPTIONS, forward_grpc.IDLE_MS)],
    ids=["client", "worker"],
)
def test_who_connects_lets_go_before_the_engine_does(
    options: tuple[tuple[str, object], ...], idle_ms: int
) -> None:
    assert ("grpc.client_idle_timeout_ms", idle_ms) in options
    # gRPC looks whether there was a call, and only after that as long again.
    assert 2 * idle_ms < module.MAX_IDLE_S * 1_000


async def none_is_open(engine: FakeEngine) -> None:
    """Until nothing in this process is connected to the engine, which is in it, too."""
    async with asyncio.timeout(WAIT_S):
        while _is_connected(engine.port):  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.01)


def _is_connected(port: int) -> bool:
    for path in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if stat.S_ISSOCK(path.stat().st_mode):
                with socket.socket(fileno=os.dup(int(path.name))) as other:
                    is_tcp = other.family in (socket.AF_INET, socket.AF_INET6)
                    if is_tcp and port == other.getpeername()[1]:
                        return True
    return False
