"""A tenant may print what it likes for as long as it likes."""

import asyncio
import contextlib
import fcntl
import mmap
import os
import struct
import termios
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from sandlot_sandbox.host import log_pipe
from sandlot_sandbox.host.log_pipe import MAX_KEPT, MAX_LINES, LogPipe

WAIT_S = 10.0


class Printer:
    """The tenant's end."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        read, self.fd = os.pipe2(os.O_CLOEXEC)
        self.pipe = LogPipe(read, on_chunk=self.heard.set)
        os.set_blocking(self.fd, False)

    async def print(self, data: bytes) -> None:
        """Until all of it has been read."""
        rest = memoryview(data)
        async with asyncio.timeout(WAIT_S):
            while rest:
                try:
                    rest = rest[os.write(self.fd, rest) :]
                except BlockingIOError:
                    await self._wait_read()
            while self._unread():
                await self._wait_read()

    async def _wait_read(self) -> None:
        self.heard.clear()
        await self.heard.wait()

    def _unread(self) -> int:
        size: int = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, b"0000"))[
            0
        ]
        return size

    def close(self) -> None:
        self.pipe.close()
        os.close(self.fd)


@pytest_asyncio.fixture
async def printer() -> AsyncIterator[Printer]:
    made = Printer()
    yield made
    made.close()


async def test_lines_come_in_order_without_their_ends(printer: Printer) -> None:
    await printer.print(b"one\ntwo\n\nlast")

    lines, dropped = printer.pipe.take()

    assert [text for _, text in lines] == [b"one", b"two", b"", b"last"]
    assert dropped == 0


async def test_what_is_still_in_the_pipe_is_taken_too(printer: Printer) -> None:
    os.write(printer.fd, b"just now")

    lines, _ = printer.pipe.take()

    assert [text for _, text in lines] == [b"just now"]


async def test_a_line_has_the_time_at_which_it_ended(printer: Printer) -> None:
    before = time.time()
    await printer.print(b"begun ")
    between = time.time()
    await printer.print(b"and ended\n")

    ((moment, text),), _ = printer.pipe.take()

    assert text == b"begun and ended"
    assert before <= between <= moment <= time.time()


async def test_any_bytes_are_kept_as_they_are(printer: Printer) -> None:
    data = bytes(range(256)).replace(b"\n", b"")

    await printer.print(data)

    assert [text for _, text in printer.pipe.take()[0]] == [data]


async def test_beyond_the_limit_bytes_are_read_counted_and_dropped(
    printer: Printer,
) -> None:
    await printer.print(b"x" * (MAX_KEPT + 1000))

    lines, dropped = printer.pipe.take()

    assert [len(text) for _, text in lines] == [MAX_KEPT]
    assert dropped == 1000


async def test_beyond_the_limit_lines_are_dropped(printer: Printer) -> None:
    await printer.print(b"\n" * (MAX_LINES + 10))

    lines, dropped = printer.pipe.take()

    assert len(lines) == MAX_LINES
    assert dropped == 10


async def test_what_was_taken_is_not_taken_again(printer: Printer) -> None:
    await printer.print(b"x" * (MAX_KEPT + 1))
    printer.pipe.take()

    await printer.print(b"next")

    assert [text for _, text in printer.pipe.take()[0]] == [b"next"]


async def test_a_flood_is_read_no_faster_than_the_budget(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pipe, "_BUDGET", 1 << 20)
    started = time.monotonic()

    await printer.print(b"x" * (3 << 20))

    assert time.monotonic() - started >= log_pipe._PERIOD_S  # noqa: SLF001 - the bound


async def test_who_has_each_byte_read_alone_is_read_no_more_often_than_the_budget(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pipe, "_BUDGET", 1 << 16)
    reads = (1 << 16) // log_pipe._LEAST  # noqa: SLF001 - the bound
    # In packet mode a read ends where a write did.
    flags = fcntl.fcntl(printer.fd, fcntl.F_GETFL)
    fcntl.fcntl(printer.fd, fcntl.F_SETFL, flags | os.O_DIRECT)
    packets = fcntl.fcntl(printer.fd, fcntl.F_GETPIPE_SZ) // mmap.PAGESIZE
    written = 0

    with contextlib.suppress(BlockingIOError):
        while written < 100 * reads:
            written += os.write(printer.fd, b"x")
            await asyncio.sleep(0)

    assert reads <= written <= reads + packets + 2


async def test_what_is_in_the_pipe_is_taken_from_who_waits_for_us_too(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pipe, "_BUDGET", 0)
    await printer.print(b"read\n")
    os.write(printer.fd, b"left\n")

    assert [text for _, text in printer.pipe.take()[0]] == [b"read", b"left"]


async def test_what_is_left_to_somebody_else_is_not_read_when_a_flood_is_over(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pipe, "_BUDGET", 0)
    monkeypatch.setattr(log_pipe, "_PERIOD_S", 0.0)
    await printer.print(b"ours")
    printer.pipe.take()

    printer.pipe.pause()
    os.write(printer.fd, b"theirs")
    for _ in range(10):
        await asyncio.sleep(0)

    assert printer._unread() == len(b"theirs")  # noqa: SLF001 - of this test


async def test_a_closed_pipe_still_gives_what_was_read(printer: Printer) -> None:
    await printer.print(b"last words")
    printer.pipe.close()

    assert [text for _, text in printer.pipe.take()[0]] == [b"last words"]


async def test_printing_byte_by_byte_costs_neither_memory_nor_time(
    printer: Printer,
) -> None:
    # 17 seconds of the engine's only thread, before lines were cut in linear time.
    pipe = printer.pipe
    for _ in range(MAX_KEPT):
        pipe._keep(b"x")  # noqa: SLF001 - to read a quarter of a million times takes long

    started = time.process_time()
    lines, _ = pipe.take()

    assert time.process_time() - started < 2
    assert [len(text) for _, text in lines] == [MAX_KEPT]


@given(st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"a", b"\n"))))
def test_lines_are_those_of_the_whole_however_it_was_cut(parts: list[bytes]) -> None:
    chunks = [(0.0, bytearray(part)) for part in parts]
    *whole, rest = b"".join(parts).split(b"\n")

    lines = log_pipe._split(chunks)  # noqa: SLF001 - the pure part of it

    assert [text for _, text in lines] == [*whole, *([rest] if rest else [])]
