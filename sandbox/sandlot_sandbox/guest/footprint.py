"""The pages that an instance has come to, by its first event: told by one of them, and
taken ahead of its first event by each that stands by.

All clones of a zygote have the same at the same addresses. What is not there in one of
them, because the other has made it after its fork, is passed over.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from array import array
from itertools import groupby, islice
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4_000
"""Ranges that are told: with as many as an answer may have."""

_RANGE = struct.Struct("=QQ")
"""Where it begins, with what is to be done there in the lowest bits; its bytes."""

_PAGE = mmap.PAGESIZE
_LONGEST = 1 << 28
"""Bytes. Larger mappings are mostly room that nobody has used."""

_READ, _WRITTEN = 22, 23
"""`MADV_POPULATE_READ` and `MADV_POPULATE_WRITE`, Linux 5.14: before, nothing is."""

_PRESENT, _IN_A_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
"""Of an entry of /proc/PID/pagemap."""

_MOST_BYTES = 64 << 20
"""That are taken, whatever was told."""

_second = itemgetter(1)
_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def told() -> bytes:
    """Of this process, for `take`. Empty where the kernel does not say."""
    try:
        return b"".join(_RANGE.pack(*each) for each in islice(_ranges(), MOST))
    except OSError:
        return b""


def take(pages: bytes) -> None:
    """What another clone of the same zygote has `told`. Its word: of what is not there,
    nothing is taken, and no more than a process may well have."""
    left = _MOST_BYTES
    whole = len(pages) // _RANGE.size * _RANGE.size
    for begin, size in _RANGE.iter_unpack(pages[:whole]):
        left -= size
        if left < 0:
            return
        how = begin % _PAGE
        if how in (_READ, _WRITTEN):
            _libc.madvise(begin - how, size, how)


def _ranges() -> Iterator[tuple[int, int]]:
    """Of pages that follow one another, and are there in the same way. Raises
    `OSError`."""
    with open("/proc/self/pagemap", "rb", buffering=0) as pages:
        for start, end in _mappings():
            entries = array("Q")
            first, last = (bound // _PAGE * entries.itemsize for bound in (start, end))
            entries.frombytes(os.pread(pages.fileno(), last - first, first))
            for how, group in groupby(enumerate(map(_how, entries)), _second):
                if how:
                    at = start + next(group)[0] * _PAGE
                    yield at + how, (1 + sum(1 for _ in group)) * _PAGE


def _how(entry: int) -> int:
    """One has to read or to write there, to have the page as it is here; or neither."""
    if not entry & _PRESENT:
        return 0
    is_own = entry & _EXCLUSIVE and not entry & _IN_A_FILE
    return _WRITTEN if is_own else _READ


def _mappings() -> Iterator[tuple[int, int]]:
    """Those that are nobody else's, and may be read. Raises `OSError`."""
    with open("/proc/self/maps", "rb") as file:
        lines = file.read().splitlines()
    for line in lines:
        bounds, rights, _, _, _, *names = line.split(None, 5)
        start, end = (int(bound, 16) for bound in bounds.split(b"-"))
        is_the_kernels = bool(names) and names[0].startswith(b"[v")
        if is_the_kernels or end - start > _LONGEST:
            continue
        if rights.startswith(b"r") and rights.endswith(b"p"):
            yield start, end
