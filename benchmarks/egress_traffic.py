"""What is sent through a way out, and what it is sent to.

Both ends are plain blocking sockets: what differs between two runs is the way between.
"""

import errno
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable

from sandlot_sandbox import linux

ECHO, REQUESTS, CLOSING, DISCARD, SOURCE = 7001, 7002, 7003, 7004, 7005
REQUEST = bytes(64)
BLOCK = 1 << 20
WAIT_S = 30.0
"""For any one thing; a way out that is slower is broken."""

GIVE_UP_S = 3.0
UNHEARD_S = 0.5
_BACKLOG = 1024


def serve() -> list[int]:
    """The pids of the servers, which listen at all addresses of this namespace."""
    return [
        _serve(ECHO, _echo),
        _serve(REQUESTS, _answer),
        _serve(CLOSING, _answer_and_close),
        _serve(DISCARD, _discard),
        _serve(SOURCE, _send),
    ]


def _serve(port: int, act: Callable[[socket.socket], None]) -> int:
    """One connection after the other: each kind is measured alone."""
    listener = socket.create_server(("", port), backlog=_BACKLOG)
    pid = os.fork()
    if pid:
        listener.close()
        return pid
    try:
        linux.set_death_signal(signal.SIGKILL)
        while True:
            connection, _ = listener.accept()
            with connection:
                act(connection)
    finally:
        os._exit(1)


def _echo(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(BLOCK):
        connection.sendall(data)


def _answer(connection: socket.socket) -> None:
    """Until the other end closes, as a server that keeps connections alive."""
    while data := connection.recv(len(REQUEST)):
        connection.sendall(data)


def _answer_and_close(connection: socket.socket) -> None:
    """As one that does not. It closes first, so its end is the one that waits then."""
    connection.sendall(connection.recv(len(REQUEST)))


def _discard(connection: socket.socket) -> None:
    buffer = bytearray(BLOCK)
    while connection.recv_into(buffer):
        pass
    connection.sendall(b"+")


def _send(connection: socket.socket) -> None:
    left = int.from_bytes(connection.recv(8), "little")
    block = bytes(BLOCK)
    while left > 0:
        connection.sendall(block[: min(left, BLOCK)])
        left -= BLOCK


def echoes(address: str, n: int) -> list[float]:
    """Seconds that a byte took there and back, each on the same connection."""
    samples = []
    with _connect(address, ECHO) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(n):
            began = time.perf_counter()
            connection.sendall(b"x")
            connection.recv(1)
            samples.append(time.perf_counter() - began)
    return samples


def connections(address: str, n: int) -> list[float]:
    """Seconds for connecting, asking, having the answer, and closing; one by one."""
    samples = []
    for _ in range(n):
        began = time.perf_counter()
        with _connect(address, REQUESTS) as connection:
            connection.sendall(REQUEST)
            if len(connection.recv(BLOCK, socket.MSG_WAITALL)) != len(REQUEST):
                raise ConnectionError("the answer was cut off")
        samples.append(time.perf_counter() - began)
    return samples


def endure(address: str, n: int) -> int:
    """How many connections, of `n`, there have been until one fails: one by one, to a
    server that closes first."""
    for done in range(n):
        try:
            with _connect(address, CLOSING, wait_s=GIVE_UP_S) as connection:
                connection.sendall(REQUEST)
                while connection.recv(BLOCK):
                    pass
        except OSError:
            return done
    return n


def connections_at_once(address: str, n: int, at_once: int) -> list[float]:
    """The same by so many processes: seconds per connection over all of them, once."""
    began = time.perf_counter()
    pipes = []
    for _ in range(at_once):
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                linux.set_death_signal(signal.SIGKILL)
                os.write(write, pickle.dumps(len(connections(address, n // at_once))))
            finally:
                os._exit(0)
        os.close(write)
        pipes.append(read)
    done = 0
    for read in pipes:
        with os.fdopen(read, "rb") as pipe:
            done += pickle.loads(pipe.read())  # noqa: S301 - our own child's
        os.wait()
    return [(time.perf_counter() - began) / done]


def uploads(address: str, n: int, megabytes: int) -> list[float]:
    """Seconds until all has been taken at the other end, a connection each time."""
    block, samples = bytes(BLOCK), []
    for _ in range(n):
        with _connect(address, DISCARD) as connection:
            began = time.perf_counter()
            for _ in range(megabytes):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1) != b"+":
                raise ConnectionError("the stream was cut off")
            samples.append(time.perf_counter() - began)
    return samples


def downloads(address: str, n: int, megabytes: int) -> list[float]:
    """The other way round."""
    buffer, samples = bytearray(BLOCK), []
    for _ in range(n):
        with _connect(address, SOURCE) as connection:
            began = time.perf_counter()
            connection.sendall((megabytes * BLOCK).to_bytes(8, "little"))
            left = megabytes * BLOCK
            while left and (got := connection.recv_into(buffer)):
                left -= got
            if left:
                raise ConnectionError("the stream was cut off")
            samples.append(time.perf_counter() - began)
    return samples


def reach(address: str, device: str = "") -> str:
    """What one byte by TCP comes to, "ok" or an error's name. By `device`, if named."""
    try:
        with socket.socket() as handle:
            handle.settimeout(UNHEARD_S)
            if device:
                handle.setsockopt(
                    socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode()
                )
            handle.connect((address, ECHO))
            handle.sendall(b"x")
            return "ok" if handle.recv(1) else "closed"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


def _connect(address: str, port: int, wait_s: float = WAIT_S) -> socket.socket:
    return socket.create_connection((address, port), timeout=wait_s)


ACTS: dict[str, Callable[..., object]] = {
    act.__name__: act
    for act in (
        echoes,
        connections,
        connections_at_once,
        uploads,
        downloads,
        reach,
        endure,
    )
}
