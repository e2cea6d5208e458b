"""The same gRPC call again and again, on one HTTP/2 connection, one at a time.

What is sent is encoded once, without a header table, and of what comes only the frames
are looked at: gRPC's own Python client takes ten times as long as what is measured.
"""

import asyncio
import struct
import time
from collections.abc import Sequence
from typing import cast

from benchmarks.load.count import Count

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME = struct.Struct("!BHBBI")  # length in 24 bits, type, flags, stream
_ROOM = 1 << 30
"""Bytes that may come before we say that there is room for more."""

Header = tuple[bytes, bytes]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _FRAME.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _literal(text: bytes) -> bytes:
    """A string of HPACK, not compressed."""
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, coded = len(text) - 127, bytearray(b"\x7f")
    while rest >= 128:
        coded.append(rest & 127 | 128)
        rest >>= 7
    coded.append(rest)
    return bytes(coded) + text


def encode_call(
    method: str, message: bytes, metadata: Sequence[Header] = ()
) -> tuple[bytes, bytes]:
    """A call's headers and data, each the payload of a frame."""
    headers: list[Header] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *metadata,
    ]
    block = b"".join(
        b"\x00" + _literal(name) + _literal(value) for name, value in headers
    )
    return block, struct.pack("!BI", 0, len(message)) + message


class GrpcClient(asyncio.Protocol):
    """Sends the call when it is connected and after each answer, until that is over. An
    answer counts if it came with a message."""

    def __init__(
        self,
        call: tuple[bytes, bytes],
        count: Count,
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._block, self._data = call
        self._count = count
        self._buffer = b""
        self._stream = -1
        self._received = 0
        self._room = _ROOM
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        # Room of its own for each stream, and for the connection.
        settings = struct.pack("!HI", 4, _ROOM)
        transport.write(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW, 0, 0, struct.pack("!I", _ROOM))
        )
        self._send()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while at + 9 <= len(buffer):
            high, low, kind, flags, stream = _FRAME.unpack_from(buffer, at)
            end = at + 9 + (high << 16 | low)
            if end > len(buffer):
                break
            self._hear(kind, flags, stream, buffer[at + 9 : end])
            at = end
        self._buffer = buffer[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._count.failed(f"the connection was lost: {exc}".encode())
            self.done.set_result(None)

    def _hear(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self._transport is not None  # noqa: S101
        if kind == _DATA:
            self._received += len(payload)
            self._room -= len(payload)
            if self._room < _ROOM // 2:
                more = struct.pack("!I", _ROOM - self._room)
                self._transport.write(_frame(_WINDOW, 0, 0, more))
                self._room = _ROOM
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            self._count.failed(b"the server sent us away: " + payload[8:])
        if stream == self._stream and (
            kind == _RST or (kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        ):
            self._answered(payload)

    def _answered(self, last: bytes) -> None:
        if self._received:
            self._count.answered(time.perf_counter() - self._sent_at)
        else:
            self._count.failed(last)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None  # noqa: S101
        if self._count.is_over:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self._stream += 2
        self._received = 0
        self._sent_at = time.perf_counter()
        self._transport.write(
            _frame(_HEADERS, _END_HEADERS, self._stream, self._block)
            + _frame(_DATA, _END_STREAM, self._stream, self._data)
        )
