"""What the sockets of a network hold, as the kernel tells and as its table says."""

import os
import socket
from collections.abc import Callable

import pytest

from sandlot_sandbox.guest.network_memory import NetworkMemory, open_questions

WAITING = 100_000
_NETLINK, _ROUTE = 16, 0


def _asks() -> int:
    return open_questions()


def _has_no_answer() -> int:
    """Of another protocol: as of a kernel that has no `inet_diag`."""
    return socket.socket(_NETLINK, socket.SOCK_DGRAM, _ROUTE).detach()


@pytest.mark.parametrize("questions", [_asks, _has_no_answer])
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_what_waits_in_a_connection_counts(
    questions: Callable[[], int], family: int, host: str
) -> None:
    memory = NetworkMemory(questions())
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.listen()
        with (
            socket.create_connection(server.getsockname()[:2]) as sender,
            server.accept()[0] as receiver,
        ):
            sender.sendall(bytes(WAITING))
            receiver.recv(1)

            # The machine's others are in it, too.
            assert memory.held([os.getpid()]) >= WAITING - 1
    memory.close()
