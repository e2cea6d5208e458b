"""One port with several listeners, and whom a client's calls are in the way of."""

import asyncio
import socket
from functools import partial

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sandlot_engine.errors import Unavailable
from sandlot_engine.gateway.rpc.listeners import LISTENERS, port_held, serving
from sandlot_engine.gateway.rpc.methods import Methods
from sandlot_engine.gateway.rpc.server import MAX_CONNECTIONS, make_server

ANYWHERE = "127.0.0.1:0"
WAIT_S = 20.0


async def _methods() -> Methods:
    methods = Methods()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, methods)
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    return methods


async def _is_answered(port: int) -> bool:
    # Else all stubs of a process go by one connection.
    alone = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", alone) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
    return True


@pytest.mark.parametrize(
    ("connections", "listeners", "clients"),
    [(MAX_CONNECTIONS, LISTENERS, 3 * LISTENERS), (LISTENERS, 1, LISTENERS // 2)],
)
async def test_each_listener_takes_in_connections_and_all_are_one_port(
    connections: int, listeners: int, clients: int
) -> None:
    taken: list[list[str]] = []
    methods = await _methods()

    def made(most: int, is_shared: bool) -> grpc.aio.Server:
        seen: list[str] = []
        taken.append(seen)
        assert most == connections // listeners

        class Noting(grpc.aio.ServerInterceptor):
            async def intercept_service(self, continuation, details):  # type: ignore[no-untyped-def]
                seen.append(details.method)
                return await continuation(details)

        return make_server(methods, (Noting(),), most, is_shared)

    async with serving(
        made,
        address=ANYWHERE,
        tls=None,
        max_connections=connections,
        drain_s=0,
        cut_short=lambda: None,
    ) as port:
        answered = await asyncio.gather(*(_is_answered(port) for _ in range(clients)))

    assert all(answered)
    assert len(taken) == listeners
    # By chance none of so many may come to one of them, but not to half.
    assert sum(map(bool, taken)) > listeners // 2


async def test_a_second_server_does_not_share_the_port() -> None:
    open_one = partial(
        serving,
        partial(make_server, await _methods(), ()),
        tls=None,
        max_connections=MAX_CONNECTIONS,
        drain_s=0,
        cut_short=lambda: None,
    )
    async with open_one(address=ANYWHERE) as port:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
            async with open_one(address=f"127.0.0.1:{port}"):
                pass


def test_a_port_that_is_held_is_nobody_elses() -> None:
    with port_held(ANYWHERE, serves="gRPC") as address:
        port = int(address.rpartition(":")[2])
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))

    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
