"""Two pages of shared memory, for what must be known at once and costs no call.

`Epochs` says how often something of a tenant has changed. The core writes it in the
moment of the change; a worker reads it before it relies on what it was told earlier. So
a key that is taken back is useless before the call that takes it back has returned.

`Marks` says what a worker has running on which lent instance, and since when. The
worker writes it before it sends an event, and the core reads it when the worker is
dead. Each has one writer, of whole words or of bytes that a last one makes valid.
"""

import mmap
import os
import struct
import zlib
from dataclasses import dataclass

EPOCHS = 4_096
"""Tenants share a number by their hash: one more forgets too much, and never too
little. The first is everybody's."""

MAX_LEASES = 1_024
"""Instances lent to one worker."""

_WORD = struct.Struct("=Q")
_MARK = struct.Struct("=B7xd36s12x")
"""Whether it runs, since when on the clock of all processes, the request's id."""


def new_page(name: str, size: int) -> int:
    """A descriptor of so many zeroes."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


class Epochs:
    """A number for each tenant, which changes with what belongs to it."""

    SIZE = EPOCHS * _WORD.size

    def __init__(self, fd: int, *, is_writer: bool = False) -> None:
        access = mmap.ACCESS_WRITE if is_writer else mmap.ACCESS_READ
        self._page = mmap.mmap(fd, self.SIZE, access=access)

    def of(self, tenant_id: str) -> int:
        """Grows with each change. Equal again: nothing has changed in between."""
        (everybody,) = _WORD.unpack_from(self._page, 0)
        (own,) = _WORD.unpack_from(self._page, _place(tenant_id))
        return int(everybody + own)

    def bump(self, tenant_id: str) -> None:
        """Something of the tenant has changed, or all of it: for an empty id, of all
        tenants."""
        place = _place(tenant_id) if tenant_id else 0
        (before,) = _WORD.unpack_from(self._page, place)
        _WORD.pack_into(self._page, place, before + 1)

    def close(self) -> None:
        self._page.close()


def _place(tenant_id: str) -> int:
    return (1 + zlib.crc32(tenant_id.encode()) % (EPOCHS - 1)) * _WORD.size


@dataclass(frozen=True, slots=True)
class Mark:
    """What runs on a lent instance."""

    request_id: str
    since: float
    """`time.monotonic`"""


class Marks:
    """One for each place of a worker's board."""

    SIZE = MAX_LEASES * _MARK.size

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, self.SIZE)

    def begin(self, slot: int, request_id: str, since: float) -> None:
        at = slot * _MARK.size
        _MARK.pack_into(self._page, at, 0, since, request_id.encode())
        # Last: half a mark is none.
        self._page[at] = 1

    def end(self, slot: int) -> None:
        self._page[slot * _MARK.size] = 0

    def is_running(self, slot: int) -> bool:
        return self._page[slot * _MARK.size] == 1

    def of(self, slot: int) -> Mark | None:
        """None where nothing runs."""
        runs, since, request_id = _MARK.unpack_from(self._page, slot * _MARK.size)
        if not runs:
            return None
        return Mark(request_id.rstrip(b"\0").decode("ascii", "replace"), since)

    def close(self) -> None:
        self._page.close()
