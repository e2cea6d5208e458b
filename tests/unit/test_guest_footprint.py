"""Which pages a process has come to, and how another comes to them."""

import ctypes
import mmap
import os
import struct
import subprocess
import sys
import textwrap
from array import array
from pathlib import Path

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.guest import footprint

PAGE = mmap.PAGESIZE
READ, WRITTEN = 22, 23
RANGE = struct.Struct("=QQ")


def _ranges(told: bytes) -> list[tuple[int, int, int]]:
    """From where to where, and how."""
    return [
        (begin // PAGE * PAGE, begin // PAGE * PAGE + size, begin % PAGE)
        for begin, size in RANGE.iter_unpack(told)
    ]


def _ways_to(told: bytes, address: int) -> list[int]:
    return [how for start, end, how in _ranges(told) if start <= address < end]


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _is_there(address: int) -> bool:
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pages:
        found = array("Q", os.pread(pages.fileno(), 8, address // PAGE * 8))
    return bool(found[0] >> 63)


def test_what_is_written_to_and_what_is_read_is_told_apart() -> None:
    memory = mmap.mmap(-1, 8 * PAGE, mmap.MAP_PRIVATE)
    memory[2 * PAGE] = memory[3 * PAGE] = 1
    with Path(__file__).open("rb") as file:
        text = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
    assert text[0]

    told = footprint.told()

    at = _address(memory)
    assert _ways_to(told, at + 2 * PAGE) == [WRITTEN]
    assert (at + 2 * PAGE, at + 4 * PAGE, WRITTEN) in _ranges(told)
    assert _ways_to(told, at) == []
    assert _ways_to(told, _address(text)) == [READ]


def test_what_is_shared_with_others_is_not_told() -> None:
    memory = mmap.mmap(-1, PAGE)
    memory[0] = 1

    assert _ways_to(footprint.told(), _address(memory)) == []


def test_it_is_taken_where_it_is() -> None:
    memory = mmap.mmap(-1, 8 * PAGE, mmap.MAP_PRIVATE)
    at = _address(memory)

    footprint.take(RANGE.pack(at + PAGE + WRITTEN, 2 * PAGE))

    there = [_is_there(at + number * PAGE) for number in range(8)]
    assert there == [False, True, True, *[False] * 5]
    assert bytes(memory) == bytes(8 * PAGE)


def test_what_is_not_there_is_passed_over() -> None:
    memory = mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE)
    nowhere = RANGE.pack(PAGE + WRITTEN, PAGE)

    footprint.take(nowhere + RANGE.pack(_address(memory) + WRITTEN, PAGE) + b"odd")

    assert _is_there(_address(memory))


@pytest.mark.parametrize("size", [(1 << 64) - 1, 0], ids=["all", "nothing"])
def test_of_ranges_that_are_none_nothing_is_taken(size: int) -> None:
    memory = mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE)

    footprint.take(RANGE.pack(_address(memory) + WRITTEN, size))

    assert not _is_there(_address(memory))


def test_no_more_is_taken_than_a_process_may_well_have() -> None:
    size = 128 << 20
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    at = _address(memory)

    footprint.take(RANGE.pack(at + WRITTEN, PAGE) + RANGE.pack(at + WRITTEN, size))

    assert _is_there(at)
    assert not _is_there(at + PAGE)


def test_advice_that_is_none_of_these_is_not_given() -> None:
    memory = mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE)
    memory[0] = 1

    footprint.take(RANGE.pack(_address(memory) + mmap.MADV_DONTNEED, PAGE))

    assert memory[0] == 1


def test_what_is_told_fits_into_an_answer() -> None:
    assert footprint.MOST * RANGE.size <= frames.MAX_PIECE
    program = """
        import mmap, sys
        sys.path[:0] = ["client", "engine", "sandbox"]
        from sandlot_sandbox.guest import footprint
        memory = mmap.mmap(-1, 20_000 * mmap.PAGESIZE, mmap.MAP_PRIVATE)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(0, 20_000, 2):
            memory[page * mmap.PAGESIZE] = 1
        print(len(footprint.told()))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    said = subprocess.run(command, check=True, capture_output=True, timeout=30)

    assert int(said.stdout) == footprint.MOST * RANGE.size
