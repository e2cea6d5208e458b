"""What launcher and wardens write down about themselves: memory that all share.

A mark is a step's name, the monotonic clock, and the page faults of its process since
its last mark. Every role has a part of the board of its own, so that processes that run
at the same time do not write over one another.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LAUNCHER = "launcher"
MEANWHILE = "launcher, meanwhile"
"""The launcher, from the clone of a warden on: the two run side by side."""

WARDEN = "warden"
ZYGOTE = "zygote"

ROLES = (LAUNCHER, MEANWHILE, WARDEN, ZYGOTE)

FIRST = "(the first mark)"
EMPTY = "(a mark)"
"""Steps in which nothing is done: what the first mark costs a clone, which writes to
the pages that marks are made of, and what every later one does."""

_RECORD = struct.Struct("=QQ48s")
_PER_ROLE = 256
_SIZE = len(ROLES) * _PER_ROLE * _RECORD.size


@dataclass(frozen=True, slots=True)
class Mark:
    """A step that is done."""

    role: str
    name: str
    at_ns: int
    page_faults: int


class Board:
    """Behind a descriptor that is not owned. Whatever finds no room is dropped."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _SIZE)

    def write(
        self, role: str, index: int, name: bytes, at_ns: int, page_faults: int
    ) -> None:
        """A role's mark, counted from 0."""
        if index < _PER_ROLE:
            offset = (ROLES.index(role) * _PER_ROLE + index) * _RECORD.size
            _RECORD.pack_into(self._memory, offset, at_ns, page_faults, name)

    def clear(self) -> None:
        self._memory[:] = bytes(_SIZE)

    def read(self, *roles: str) -> list[Mark]:
        """The marks of these, by time."""
        found = [mark for role in roles for mark in self._of(role)]
        return sorted(found, key=lambda mark: mark.at_ns)

    def _of(self, role: str) -> Iterator[Mark]:
        first = ROLES.index(role) * _PER_ROLE
        for index in range(first, first + _PER_ROLE):
            at_ns, faults, name = _RECORD.unpack_from(
                self._memory, index * _RECORD.size
            )
            if not at_ns:
                return
            yield Mark(role, name.rstrip(b"\0").decode(), at_ns, faults)


@contextmanager
def new_board() -> Iterator[Board]:
    """A board that can be given to a child, by its descriptor."""
    fd = os.memfd_create("board")
    try:
        os.ftruncate(fd, _SIZE)
        yield Board(fd)
    finally:
        os.close(fd)
