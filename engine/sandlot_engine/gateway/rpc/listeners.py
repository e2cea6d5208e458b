"""Several servers of one process on one port, so that each client waits behind its own
calls.

grpc.aio takes in a call at a time, in the order in which they came, and no limit of
ours can apply to one before: behind two thousand of one client's, everybody waits. The
kernel deals connections out to listeners (SO_REUSEPORT), and each of those takes in
calls by itself. So what a client has sent and nobody has looked at is before nobody's
calls but those that came to the same listener: one client in `LISTENERS`, by chance.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import grpc
import grpc.aio

from sandlot_engine.errors import Unavailable
from sandlot_engine.gateway.connections import LAST_WORD_S
from sandlot_engine.gateway.http import listen

LISTENERS = 64
"""Each is a socket and a few kilobytes."""

_FEWEST_CONNECTIONS = 8
"""Of a listener's share. Where there is less, there is one listener: chance may send it
more than its share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server shows its clients. PEM."""

    certificate: bytes
    """The chain, its own certificate first."""

    key: bytes = field(repr=False)


@contextlib.asynccontextmanager
async def serving(
    make: Callable[[int, bool], grpc.aio.Server],
    *,
    address: str,
    tls: Tls | None,
    max_connections: int,
    drain_s: float,
    cut_short: Callable[[], object],
    is_shared: bool = False,
) -> AsyncIterator[int]:
    """Serve there, and give the port. `make` is given how many connections a listener
    may have, and whether it shares its port. With `is_shared`, other processes have
    listeners there, and somebody holds the port.

    At the end calls may go on for `drain_s`. `cut_short` is called a little before that
    is over, and is to end them with a word: grpc would say CANCELLED.

    Raises `Unavailable` where the address is taken.
    """
    count = LISTENERS if max_connections >= LISTENERS * _FEWEST_CONNECTIONS else 1
    if address.startswith(("unix:", "unix-abstract:")):
        count = 1
    with contextlib.ExitStack() as stack:
        if count > 1 and not is_shared:
            address = stack.enter_context(port_held(address, serves="gRPC"))
        servers = [
            make(max_connections // count, is_shared or count > 1) for _ in range(count)
        ]
        ports = {_bind(server, address, tls) for server in servers}
        try:
            for server in servers:
                await server.start()
            yield ports.pop()
        finally:
            within_s = drain_s - min(LAST_WORD_S, drain_s / 2)
            cutting = asyncio.get_running_loop().call_later(within_s, cut_short)
            try:
                await asyncio.gather(*(server.stop(drain_s) for server in servers))
            finally:
                cutting.cancel()


@contextlib.contextmanager
def port_held(address: str, *, serves: str) -> Iterator[str]:
    """An address whose port is ours alone to share; what it `serves` is gRPC or HTTP.

    Raises `Unavailable` where another process has it: one that shares it, too.
    """
    alone = listen(address, serves=serves)
    port = alone.getsockname()[1]
    alone.close()
    where = address.rpartition(":")[0]
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((where.strip("[]"), port))
        yield f"{where}:{port}"


def _bind(server: grpc.aio.Server, address: str, tls: Tls | None) -> int:
    try:
        if tls is None:
            return server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise Unavailable(f"cannot serve gRPC on {address}: {error}") from error
