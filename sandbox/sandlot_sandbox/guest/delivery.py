"""Takes events of the Telemetry API to an extension, within the instance's own network.

Runs in a process of the tenant's, for the tenant: it reaches what the extension itself
could reach, and nothing else.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import os
import select
import signal
import socket

from sandlot_sandbox import frames

_LIMIT_S = 10.0
"""For each step: an extension that does not listen keeps us no longer."""

_MAX_REPLY = 65_536
_NOT_DELIVERED = 1
_SIGCHLD = int(signal.SIGCHLD)


def run(channel: socket.socket, extension_log: int) -> None:
    """A courier's life, beside a program whose starter is gone: one order after another
    until the engine closes the channel. Never returns."""
    try:
        os.close(extension_log)
        wake = wake_at_deaths()
        couriers = Couriers(channel)
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wake:
                    os.read(wake, 512)
                    couriers.reap()
                    continue
                order = frames.read_order(channel)
                if order is None:
                    return
                kind, where, body = order
                if kind == frames.DELIVER:
                    couriers.send(where, body)
    finally:
        os._exit(0)


class Couriers:
    """Processes that take one batch each, as who is to take it may be slow. `channel`
    hears what became of them."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._numbers: dict[int, str] = {}
        """What they deliver, by pid."""

    def send(self, where: str, body: bytes) -> None:
        """`where` has a number, and what `deliver` takes."""
        number, _, destination = where.partition(" ")
        try:
            pid = os.fork()
        except OSError:
            self._say(number, is_delivered=False)
            return
        if not pid:
            status = _NOT_DELIVERED
            try:
                deliver(destination, body)
                status = 0
            finally:
                os._exit(status)
        self._numbers[pid] = number

    def note_ended(self, pid: int, status: int) -> bool:
        """Whether that was one of them."""
        number = self._numbers.pop(pid, None)
        if number is not None:
            self._say(number, is_delivered=status == 0)
        return number is not None

    def reap(self) -> None:
        """All that have ended, where there are no other children."""
        while self._numbers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self.note_ended(pid, status)

    def _say(self, number: str, *, is_delivered: bool) -> None:
        text = ("+" if is_delivered else "-") + number
        with contextlib.suppress(OSError):
            self._channel.sendall(frames.encode_answer(frames.DELIVERED, text.encode()))


def wake_at_deaths() -> int:
    """A descriptor that can be read when a child has ended."""
    wake, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.signal(_SIGCHLD, _noted)
    _signal.set_wakeup_fd(wakes)
    return wake


def _noted(*_: object) -> None:
    """Only wakes."""


def deliver(destination: str, body: bytes) -> None:
    """Raises `OSError` where it did not arrive. `destination` has protocol, port, and
    for HTTP a method and a path."""
    protocol, port, method, path = destination.split(" ", 3)
    with socket.create_connection(("127.0.0.1", int(port)), timeout=_LIMIT_S) as to:
        if protocol == "TCP":
            to.sendall(body)
            return
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        to.sendall(head.encode() + body)
        reply = b""
        while b"\r\n" not in reply and len(reply) < _MAX_REPLY:
            data = to.recv(_MAX_REPLY)
            if not data:
                break
            reply += data
        if not reply.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
            raise OSError("it was not taken")
