"""A zygote's memory as a sealed file that it and its clones map for themselves.

Of what is private and in no file, a fork copies the tables, page by page: the more an
import has brought along, the longer it takes. Of a file it copies nothing. A clone
finds the pages when it reads them, sixteen at once, and has a copy of its own of what
it writes to, as before.

The file has no name. Before there is a clone it is sealed, so that nobody can write to
it, and its descriptor closed: what the zygote has come to by then is taken into it at
the last moment (`shedding.py`).

What is laid down lies where it was. Nothing is written to between the copy of a piece
and the moment where the file is mapped in its place: both are in one table of system
calls (`calls.py`). It begins with having the kernel read the piece: what we have from
`/proc` may be gone by now, it may have been ours, and of what is not all there a copy
would end early and the rest be zeros.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import mmap
import os
import resource
import signal

from sandlot_sandbox.guest import calls
from sandlot_sandbox.guest.calls import Calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Span = tuple[int, int, bool]
    """Where it begins and ends, and whether one may write there."""

_PIECE = 256 << 10
"""Bytes that are there twice for a moment."""

_FILE = "zygote"
_NAME = f"/memfd:{_FILE}".encode()
_LONGEST = 1 << 40
_PLAIN = frozenset(("rd", "wr", "mr", "mw", "me", "ac", "sd"))
"""Flags of mappings that are memory and nothing else: not locked or huge, and neither
wiped nor left out at a fork."""

_SPARSE = 1 << 20
"""Of more bytes than this half has to be used."""

_THREAD = 8192
"""The kernel notes down where a thread runs within so many bytes of its pointer."""

_MAY_MOVE_TO = 3
_POPULATE_READ = 22
_NEVER_EXECUTED = 0x8
_SEALS = (
    fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.pthread_self.restype = ctypes.c_void_p
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
    ctypes.c_long,
]
_PAGE = mmap.PAGESIZE
_WORDS = _PAGE // 8
_KB = 1024


class Laid:
    """What was laid down. It has yet to be sealed: before there is a clone."""

    __slots__ = ("fd", "places")

    def __init__(self, fd: int, spans: list[Span]) -> None:
        self.fd = fd
        self.places: list[tuple[int, int, int]] = []
        """What one may write to: from where to where, and where that is in the file."""
        at = 0
        for start, end, is_writable in spans:
            if is_writable:
                self.places.append((start, end, at))
            at += end - start

    def sealing(self) -> Calls:
        """Whoever maps it from then on cannot write to it. If that fails nobody may be
        cloned: somebody could write to what all clones read."""
        made = Calls()
        made.add("fcntl", self.fd, fcntl.F_ADD_SEALS, _SEALS)
        made.add("close", self.fd)
        return made


def lay_down() -> Laid | None:
    """The memory of this process; where it was. What cannot be laid down stays as it
    is: everything, where we have no machine code, nobody may have files without a name,
    or a thread could write to what is being copied."""
    fd = _file() if calls.CAN_SPAWN else None
    if fd is None:
        return None
    # A handler of Python's would write to what is being copied, and a collection give
    # back memory that we have just seen.
    collects = gc.isenabled()
    gc.disable()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    spans: list[Span] = []
    try:
        spans = _lay_down(fd)
    except OSError:
        pass  # each piece is in the file, or where it was
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if collects:
            gc.enable()
    if not spans:
        os.close(fd)
        return None
    return Laid(fd, spans)


def resident_kb() -> int:
    """Of this process, with what it shares; 0 where the kernel does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE // _KB
    except OSError:
        return 0


def _file() -> int | None:
    """A new one; None where nobody may have files without a name."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    for more in (_NEVER_EXECUTED, 0):  # kernels before 6.3 do not know that
        with contextlib.suppress(OSError):
            return os.memfd_create(_FILE, flags | more)
    return None


def _lay_down(fd: int) -> list[Span]:
    """Raises `OSError`."""
    if len(os.listdir("/proc/self/task")) > 1:
        return []
    # Behind the end of a file there is nothing, not even zeros, and a library may have
    # a block grow where it is (`mremap`). So it is as long as a file may be.
    room, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = _LONGEST if room == resource.RLIM_INFINITY else min(room, _LONGEST)
    os.ftruncate(fd, room)
    spans: list[Span] = []
    size = 0
    # First all of them: what we had for looking may have been one. And kept, for it may
    # be all that is left in another.
    found = list(_spans())
    for start, end, is_writable in found:
        if size + end - start <= room // 2 and _is_there(start, end):
            spans.append((start, end, is_writable))
            size += end - start
    if spans:
        base = _mapped(fd, size)
        try:
            _table(spans, fd, base).prepared().make()
        except OSError:
            _unmap(base, base + size)
            raise
    return spans


def _table(spans: list[Span], fd: int, base: int) -> Calls:
    """The file is mapped at `base`, from where it is moved."""
    table, at = Calls(), 0
    for first, end, is_writable in spans:
        for start in range(first, end, _PIECE):
            length = min(_PIECE, end - start)
            table.add("madvise", start, length, _POPULATE_READ)
            # So that there is room for all of it, and not for a part.
            table.add("fallocate", fd, 0, at, length)
            table.add("pwrite64", fd, start, length, at)
            if not is_writable:
                table.add("mprotect", base + at, length, mmap.PROT_READ)
            table.add("mremap", base + at, length, length, _MAY_MOVE_TO, start)
            at += length
    return table


def _mapped(fd: int, size: int) -> int:
    """The address. Raises `OSError`."""
    rights = mmap.PROT_READ | mmap.PROT_WRITE
    address = _libc.mmap(None, size, rights, mmap.MAP_PRIVATE, fd, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def _unmap(first: int, last: int) -> None:
    """Of the file what is still where it was mapped first: it would count as memory
    that one may fill. Between, there may be something else by now."""
    for start, end, _, name, _ in list(_mappings()):
        if first <= start < last and name.startswith(_NAME):
            _libc.munmap(
                ctypes.c_void_p(start), ctypes.c_size_t(min(end, last) - start)
            )


def _is_there(start: int, end: int) -> bool:
    """Whether all of it can be read. A mapping may have pages that must not be touched,
    or lie beyond the end of its file. Not before Linux 5.14."""
    place, length = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
    return not _libc.madvise(place, length, _POPULATE_READ)


def _spans() -> Iterator[Span]:
    """What can be laid down."""
    # On this machine, a thread's handle and its pointer are one.
    thread = _libc.pthread_self() // _PAGE * _PAGE
    for start, end, rights, name, used in _mappings():
        is_sparse = end - start > _SPARSE and 2 * used < end - start
        if rights not in (b"rw-p", b"r--p") or not used or is_sparse:
            continue
        if name.startswith(b"[") and name != b"[heap]":
            continue
        for first, last in _without(start, end, thread - _THREAD, thread + _THREAD):
            if not _is_there(first, last):
                continue
            pieces = [(first, last)] if name else _without_blocks(first, last)
            for piece in pieces:
                yield (*piece, rights == b"rw-p")


def _without(start: int, end: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """What is outside of `first` to `last`."""
    for pair in ((start, min(end, first)), (max(start, last), end)):
        if pair[0] < pair[1]:
            yield pair


def _without_blocks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """What is not a large block of libc's, which may grow: it has its size in front, in
    whole pages, marked as a mapping."""
    words = memoryview((ctypes.c_char * (end - start)).from_address(start))
    words = words.cast("B").cast("Q")
    befores, sizes = words[::_WORDS].tolist(), words[1::_WORDS].tolist()
    at = first = 0
    while at < len(sizes):
        length, rest = divmod(sizes[at] - 2, _PAGE)
        if befores[at] or rest or not 0 < length <= len(sizes) - at:
            at += 1
            continue
        if first < at:
            yield start + first * _PAGE, start + at * _PAGE
        at += length
        first = at
    if first < len(sizes):
        yield start + first * _PAGE, end


def _mappings() -> Iterator[tuple[int, int, bytes, bytes, int]]:
    """Of this process, those that are memory and nothing else: begin and end, rights,
    name, and bytes that are in no file. Raises `OSError`."""
    with open("/proc/self/smaps", "rb") as file:
        lines = file.read().splitlines()
    start = end = used = 0
    rights = name = b""
    for line in lines:
        first, _, rest = line.partition(b" ")
        if not first.endswith(b":"):
            start, end = (int(bound, 16) for bound in first.split(b"-"))
            rights, _, _, _, *names = rest.split(None, 4)
            name = names[0] if names else b""
        elif first == b"Anonymous:":
            used = int(rest.split()[0]) * _KB
        elif first == b"VmFlags:" and _PLAIN.issuperset(rest.decode().split()):
            yield start, end, rights, name, used
