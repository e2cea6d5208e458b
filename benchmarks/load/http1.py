"""The same HTTP/1.1 request again and again, on one connection, one at a time."""

import asyncio
import time
from typing import cast

from benchmarks.load.count import Count

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class HttpClient(asyncio.Protocol):
    """Sends `request` when it is connected and after each answer, until that is over.
    An answer counts if its status is 200."""

    def __init__(
        self,
        request: bytes,
        count: Count,
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._count = count
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head = buffer.find(_END)
        if head < 0 or len(buffer) < head + len(_END) + _length_in(buffer, head):
            self._buffer = buffer
            return
        self._buffer = b""
        if buffer.startswith(b"HTTP/1.1 200"):
            self._count.answered(time.perf_counter() - self._sent_at)
        else:
            self._count.failed(buffer)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._count.failed(f"the connection was lost: {exc}".encode())
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None  # noqa: S101
        if self._count.is_over:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def _length_in(buffer: bytes, head: int) -> int:
    """Of the body, as the head says; servers here send it in lower case."""
    at = buffer.find(_LENGTH, 0, head)
    if at < 0:
        return 0
    start = at + len(_LENGTH)
    return int(buffer[start : buffer.index(b"\r\n", start)])
