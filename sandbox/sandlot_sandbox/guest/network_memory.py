"""What the sockets of a cell's network hold of memory, where no control group counts
it: as the kernel counts them, so that those that were sent to somebody are among them,
and those that are closed with something left in them.

Of TCP, what waits in each connection is asked of the kernel's `sock_diag`, by a socket
that was made in that network: a table in /proc says the same, but takes ten times as
long, or a hundred times while somebody fills the buffers; and whoever looks for long
looks too late.
"""

from __future__ import annotations

import os
import socket
import struct

from sandlot_sandbox.guest.proc import threads_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FREE_SOCKETS = 64
"""That are not TCP's: such of event loops, of children, for names."""

_TCP_BYTES = 8192
"""What a connection takes beside what is in its buffers."""

_NETLINK, _SOCK_DIAG = 16, 4
_HEADER = struct.Struct("=IHHII")
_BY_FAMILY, _REQUEST_OF_A_DUMP, _END, _ERROR = 20, 0x301, 3, 2
_QUESTION = struct.Struct("=BBBBI48x")
_EVERY_STATE = 0xFFF
_QUEUES = struct.Struct("=56xII")
"""Of `inet_diag_msg`, which follows a header."""

_MAX_ANSWER = 64 << 10
_ANSWER_S = 1.0
"""The kernel has it ready at once."""


NUMBER_OF_SOCKETS = "/proc/self/net/sockstat"
"""Tells of the network that its opener is in, to whoever has it."""


def open_number() -> int:
    """A descriptor of that; raises `OSError`."""
    return os.open(NUMBER_OF_SOCKETS, os.O_RDONLY | os.O_CLOEXEC)


def open_questions() -> int:
    """A descriptor that asks about the network we are in; raises `OSError`."""
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    return socket.socket(_NETLINK, kind, _SOCK_DIAG).detach()


class NetworkMemory:
    """The memory of one network's sockets. Owns `questions`, a netlink socket in it."""

    def __init__(self, questions: int) -> None:
        self._questions = socket.socket(_NETLINK, socket.SOCK_DGRAM, fileno=questions)
        self._questions.settimeout(_ANSWER_S)
        self._asked = 0
        self._socket_bytes = _room_of(self._questions)

    def close(self) -> None:
        self._questions.close()

    def held(self, pids: list[int]) -> int:
        """Bytes: of TCP what is waiting, of others the most that they may hold. `pids`
        are of processes that are in this network."""
        sockets = tcp = waiting = 0
        for family, suffix in ((socket.AF_INET, b""), (socket.AF_INET6, b"6")):
            for line in _table(pids, b"sockstat" + suffix):
                name, *numbers = line.split()
                if name == b"sockets:":
                    sockets = int(numbers[1])
                elif name == b"TCP%s:" % suffix and int(numbers[1]):
                    tcp += int(numbers[1])
                    waiting += self._waiting(family, pids)
        others = max(0, sockets - tcp - _FREE_SOCKETS)
        return others * self._socket_bytes + tcp * _TCP_BYTES + waiting

    def _waiting(self, family: int, pids: list[int]) -> int:
        try:
            return sum(self._queues(family))
        except OSError:
            # A kernel without `inet_diag`.
            suffix = b"6" if family == socket.AF_INET6 else b""
            return sum(_queues_of_table(_table(pids, b"tcp" + suffix)))

    def _queues(self, family: int) -> Iterator[int]:
        question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, _EVERY_STATE)
        size = _HEADER.size + len(question)
        self._asked = (self._asked + 1) & 0xFFFFFFFF
        header = _HEADER.pack(size, _BY_FAMILY, _REQUEST_OF_A_DUMP, self._asked, 0)
        self._questions.send(header + question)
        while True:
            answer, at = self._questions.recv(_MAX_ANSWER), 0
            while at < len(answer):
                size, kind, _, asked, _ = _HEADER.unpack_from(answer, at)
                if asked == self._asked:  # else it is left of what took too long
                    if kind == _ERROR:
                        raise OSError("the kernel does not tell of sockets")
                    if kind == _END:
                        return
                    yield sum(_QUEUES.unpack_from(answer, at + _HEADER.size))
                at += (size + 3) & ~3


def _queues_of_table(lines: list[bytes]) -> Iterator[int]:
    for line in lines[1:]:
        sent, received = line.split(None, 5)[4].split(b":")
        yield int(sent, 16) + int(received, 16)


def _table(pids: list[int], name: bytes) -> list[bytes]:
    """Of their network, from the first that still has one."""
    for pid in pids:
        for path in threads_of(pid):
            try:
                with open(path.encode() + b"/net/" + name, "rb") as file:
                    if lines := file.readlines():
                        return lines
            except OSError:
                continue  # it has just ended
    return []


def _room_of(one: socket.socket) -> int:
    """What the buffers of one that is as all are can hold: a write goes through as long
    as one byte is free, and may be as long as all."""
    options = (socket.SO_SNDBUF, socket.SO_RCVBUF)
    return 2 * max(one.getsockopt(socket.SOL_SOCKET, option) for option in options)
