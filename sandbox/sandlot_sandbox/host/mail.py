"""Datagrams with descriptors over a unix socket, in an asyncio loop."""

import asyncio
import errno
import fcntl
import os
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence

MAX_QUEUED = 8_192
"""Datagrams that wait for a receiver; beyond it we take the receiver for dead."""


LATE_S = 1.0
"""Who has read nothing for so long is late, whatever the machine is busy with."""

_RETRY_S = 0.002
_LATER = frozenset((errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM))

_INT = struct.Struct("@i")


class Mail:
    """One end of a SEQPACKET pair. Owns the socket, and what is given to `send`.

    `on_message` is called with each datagram and the descriptors that came with it;
    `on_close` once, when the other end is closed or does not read.
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        max_size: int,
        max_descriptors: int,
        on_message: Callable[[bytes, list[int]], None],
        on_close: Callable[[], None],
    ) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._max_size = max_size
        self._max_descriptors = max_descriptors
        self._on_message = on_message
        self._on_close = on_close
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._unread = 0
        """What the other end had not read when we looked last, in the kernel's bytes.
        """

        self._progress_at = 0.0
        """When it was seen to have read something, or had nothing to read."""

        self._retry: asyncio.TimerHandle | None = None
        self._loop.add_reader(channel, self._read)

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def has_unread(self) -> bool:
        """Whether the other end has not read all that was sent."""
        self._look()
        return bool(self._queue) or self._unread > 0

    @property
    def unread_for_s(self) -> float:
        """For how long it has read nothing, while there was something; 0 where there is
        nothing. How much it has left says little: a reader may be slow by right."""
        self._look()
        return self._loop.time() - self._progress_at if self._unread else 0.0

    @property
    def is_late(self) -> bool:
        """Whether one end has something to read that it has not read: it was stopped,
        or waits for a processor. Then nothing follows from what has not come."""
        return self.unread_for_s >= LATE_S or self._count(termios.FIONREAD) > 0

    def _look(self) -> None:
        left = self._outstanding()
        if left < self._unread or not left:
            self._progress_at = self._loop.time()
        self._unread = left

    def _outstanding(self) -> int:
        return self._count(termios.TIOCOUTQ)

    def _count(self, request: int) -> int:
        if not self._is_open:
            return 0
        found = fcntl.ioctl(self._channel, request, b"\0" * _INT.size)
        return int(_INT.unpack(found)[0])

    def send(self, datagram: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send, or keep until it can be sent; closes the descriptors afterwards."""
        if not self._is_open:
            _close_all(descriptors)
        elif self._queue or not self._try_to_send(datagram, descriptors):
            self._queue.append((datagram, descriptors))
            self._drain_later()
            if len(self._queue) > MAX_QUEUED:
                self._lose()

    def read_rest(self) -> None:
        """Hear now what was sent before the other end died; it sends no more."""
        while self._is_open and (heard := self._receive()) is not None and heard[0]:
            self._on_message(*heard)

    def close(self) -> None:
        """Let go of the socket, without calling `on_close`."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._channel)
            if self._retry is not None:
                self._retry.cancel()
            self._channel.close()
            for _, descriptors in self._queue:
                _close_all(descriptors)
            self._queue.clear()

    def _try_to_send(self, datagram: bytes, descriptors: Sequence[int]) -> bool:
        self._look()
        try:
            if descriptors:
                socket.send_fds(self._channel, [datagram], list(descriptors))
            else:
                self._channel.send(datagram)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _LATER:
                # Too much is on its way already, of all who have our user: see unix(7).
                return False
            # The reader sees the end, too; one place to tell of it is enough.
        _close_all(descriptors)
        # Progress is what there is less of, and this is more.
        self._unread = self._outstanding()
        return True

    def _drain_later(self) -> None:
        # Not when it can be written to, which it can be while it refuses.
        if self._retry is None:
            self._retry = self._loop.call_later(_RETRY_S, self._drain)

    def _drain(self) -> None:
        self._retry = None
        while self._queue and self._try_to_send(*self._queue[0]):
            self._queue.popleft()
        if self._queue and self._is_open:
            self._drain_later()

    def _read(self) -> None:
        if (heard := self._receive()) is None:
            return
        datagram, descriptors = heard
        if datagram:
            self._on_message(datagram, descriptors)
        else:
            self._lose()

    def _receive(self) -> tuple[bytes, list[int]] | None:
        """The next datagram, an empty one at the end; None where there is none yet."""
        try:
            if not self._max_descriptors:
                # Without room for descriptors the kernel closes what is sent along.
                return self._channel.recv(self._max_size), []
            datagram, descriptors, _, _ = socket.recv_fds(
                self._channel, self._max_size, self._max_descriptors
            )
        except BlockingIOError:
            return None
        except OSError:
            return b"", []
        return datagram, descriptors

    def _lose(self) -> None:
        self.close()
        self._on_close()


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
