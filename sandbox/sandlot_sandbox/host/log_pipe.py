"""Reads what a tenant prints: for ever, at a bounded rate, keeping a bounded part."""

import asyncio
import fcntl
import os
import termios
import time
from collections.abc import Callable

MAX_KEPT = 262_144
"""Bytes kept of one invocation's output; the rest is read and counted."""

MAX_LINES = 4_096
"""Lines kept of one invocation's output."""

_CHUNK = 65_536
_BUDGET = 4 << 20
"""Bytes read in one period; a tenant that prints more waits for us, not others."""
_PERIOD_S = 0.25
_LEAST = 4_096
"""Bytes that a read counts for: who makes a packet of each byte (`pipe(7)`, O_DIRECT)
has us read each alone."""


_NOTHING = bytes(4)
"""A C int of 0: so many bytes can be read."""

Line = tuple[float, bytes]
"""Wall-clock seconds at which we read it, and the text without its line end."""


class LogPipe:
    """The reading end of an instance's stdout and stderr. Owns the descriptor."""

    __slots__ = (
        "_chunks",
        "_dropped",
        "_fd",
        "_is_open",
        "_kept",
        "_loop",
        "_on_chunk",
        "_pause",
        "_spent",
    )

    def __init__(self, fd: int, *, on_chunk: Callable[[], None] | None = None) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._on_chunk = on_chunk
        self._chunks: list[tuple[float, bytearray]] = []
        self._kept = 0
        self._dropped = 0
        self._spent = 0
        self._pause: asyncio.TimerHandle | None = None
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def take(self) -> tuple[tuple[Line, ...], int]:
        """All that was printed up to now, as lines, and how many bytes were dropped."""
        # Also of who waits for us: what was printed before an answer belongs to that.
        if self._is_open and self._holds_something():
            self._read()
        chunks, dropped = self._chunks, self._dropped
        self._chunks, self._kept, self._dropped = [], 0, 0
        lines = _split(chunks)
        if len(lines) > MAX_LINES:
            dropped += sum(len(text) + 1 for _, text in lines[MAX_LINES:])
            del lines[MAX_LINES:]
        return tuple(lines), dropped

    def _holds_something(self) -> bool:
        """Mostly it does not, and to be told so takes a fraction of a read that fails.
        The loop tells whether it was closed."""
        return fcntl.ioctl(self._fd, termios.FIONREAD, _NOTHING) != _NOTHING

    @property
    def has_something(self) -> bool:
        """Whether anything was printed that nobody has taken yet."""
        if self._is_open and self._holds_something():
            self._read()
        return bool(self._chunks or self._dropped)

    def fileno(self) -> int:
        return self._fd

    def pause(self) -> None:
        """Leave what comes unread: somebody else reads it."""
        if self._is_open:
            self._loop.remove_reader(self._fd)
            if self._pause is not None:
                self._pause.cancel()
                self._pause = None

    def resume(self) -> None:
        if self._is_open and self._pause is None:
            self._loop.add_reader(self._fd, self._read)

    def put_back(self, lines: tuple[Line, ...]) -> None:
        """What somebody else has read of it in the meantime."""
        for moment, text in lines:
            self._chunks.append((moment, bytearray(text + b"\n")))
            self._kept += len(text) + 1

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            if self._pause is not None:
                self._pause.cancel()
            os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        room = max(0, MAX_KEPT - self._kept)
        if kept := data[:room]:
            self._keep(kept)
        self._dropped += len(data) - len(kept)
        self._spend(max(len(data), _LEAST))
        if self._on_chunk is not None:
            self._on_chunk()

    def _keep(self, data: bytes) -> None:
        self._kept += len(data)
        if len(self._chunks) < MAX_LINES:
            self._chunks.append((time.time(), bytearray(data)))
        else:
            # Who prints by the byte does not get a time for each.
            self._chunks[-1][1].extend(data)

    def _spend(self, size: int) -> None:
        if self._pause is None and self._spent == 0:
            self._loop.call_later(_PERIOD_S, self._refill)
        self._spent += size
        if self._spent > _BUDGET and self._pause is None:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(_PERIOD_S, self._resume)

    def _refill(self) -> None:
        self._spent = 0

    def _resume(self) -> None:
        self._pause = None
        self._spent = 0
        if self._is_open:
            self._loop.add_reader(self._fd, self._read)


def _split(chunks: list[tuple[float, bytearray]]) -> list[Line]:
    """Lines, each with the time of the chunk that it ends in. In linear time, however
    the tenant cut its output."""
    lines: list[Line] = []
    begun: list[bytes] = []
    for moment, data in chunks:
        first, *others = bytes(data).split(b"\n")
        begun.append(first)
        for text in others:
            lines.append((moment, b"".join(begun)))
            begun = [text]
    if any(begun):
        lines.append((chunks[-1][0], b"".join(begun)))
    return lines
