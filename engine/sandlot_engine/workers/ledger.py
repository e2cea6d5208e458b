"""How records get from a worker to the core: a stream of its own, written before the
answer leaves.

What is written is in the kernel's hands: it is read though the writer is dead. A core
that does not read makes the writer wait, and with it its callers.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from sandlot_engine.model.invocation import (
    LogLine,
    LogSource,
    Record,
    Report,
    Status,
)

WAIT_S = 10
"""How long a worker waits for a core that does not read: then it ends itself."""

PAUSE_S = 0.005
"""How long the core lets records gather, after it has read some."""

_CHUNK = 1 << 18
_SIZE = struct.Struct("=I")
_WAIT = struct.pack("ll", WAIT_S, 0)


class _Entry(NamedTuple):
    lease: int
    request_id: str
    tenant_id: str
    function: str
    version: str
    time: datetime
    status: Status
    error_type: str
    report: tuple[float, float | None, float, int, int, int]
    log: list[tuple[datetime, str, LogSource, bytes]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Entry)

Take = Callable[[int, Record, tuple[LogLine, ...]], None]
"""Takes a record and its log, and the lease it was run under."""


class LedgerWriter:
    """The worker's end. Owns the socket."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(True)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _WAIT)
        self._channel = channel

    def write(self, lease: int, record: Record, log: Sequence[LogLine]) -> None:
        """Raises `OSError` where the core is gone, or does not read for `WAIT_S`."""
        report = record.report
        entry = _encoder.encode(
            (
                lease,
                record.request_id,
                record.tenant_id,
                record.function,
                record.version,
                record.time,
                record.status,
                record.error_type,
                (
                    report.duration_ms,
                    report.init_ms,
                    report.wait_ms,
                    report.billed_ms,
                    report.memory_mb,
                    report.max_memory_used_mb,
                ),
                [(line.time, line.request_id, line.source, line.text) for line in log],
            )
        )
        self._channel.sendall(_SIZE.pack(len(entry)) + entry)


class LedgerReader:
    """The core's end. Owns the socket."""

    def __init__(self, channel: socket.socket, take: Take) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._take = take
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._is_open = True
        self._loop.add_reader(channel, self._read)

    def read_all(self) -> None:
        """All that was written up to now."""
        while self._is_open and self._receive():
            pass

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            if self._pause is not None:
                self._pause.cancel()
            else:
                self._loop.remove_reader(self._channel)
            self._channel.close()

    def _read(self) -> None:
        # One wake-up for many records: nobody waits for them.
        if self._receive() and self._is_open:
            self._loop.remove_reader(self._channel)
            self._pause = self._loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._channel, self._read)

    def _receive(self) -> bool:
        try:
            data = self._channel.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._buffer += data
        self._parse()
        return True

    def _parse(self) -> None:
        buffer, at = self._buffer, 0
        while at + _SIZE.size <= len(buffer):
            (size,) = _SIZE.unpack_from(buffer, at)
            end = at + _SIZE.size + size
            if end > len(buffer):
                break
            with memoryview(buffer)[at + _SIZE.size : end] as part:
                entry = _decoder.decode(part)
            self._take(entry.lease, *_record_of(entry))
            at = end
        del buffer[:at]


def _record_of(entry: _Entry) -> tuple[Record, tuple[LogLine, ...]]:
    duration_ms, init_ms, wait_ms, billed_ms, memory_mb, used_mb = entry.report
    record = Record(
        request_id=entry.request_id,
        tenant_id=entry.tenant_id,
        function=entry.function,
        version=entry.version,
        time=entry.time,
        status=entry.status,
        error_type=entry.error_type,
        report=Report(
            duration_ms=duration_ms,
            init_ms=init_ms,
            wait_ms=wait_ms,
            billed_ms=billed_ms,
            memory_mb=memory_mb,
            max_memory_used_mb=used_mb,
        ),
    )
    log = tuple(
        LogLine(time=time, request_id=request_id, source=source, text=text)
        for time, request_id, source, text in entry.log
    )
    return record, log
