"""The kernel's word of what happens in folders: inotify(7), through libc.

Of each folder only itself is watched, by a descriptor that was opened without following
a link: what is told is never of another place than the operator named.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLOSE_WRITE = 0x00000008
MOVED_FROM = 0x00000040
MOVED_TO = 0x00000080
DELETE = 0x00000200
DELETE_SELF = 0x00000400
MOVE_SELF = 0x00000800
Q_OVERFLOW = 0x00004000
IGNORED = 0x00008000
ONLYDIR = 0x01000000
ISDIR = 0x40000000

OF_FILES = CLOSE_WRITE | MOVED_FROM | MOVED_TO | DELETE
GONE = DELETE_SELF | MOVE_SELF | IGNORED
"""The folder is not where it was."""

READ_SIZE = 64 * 1024

_MASK = OF_FILES | DELETE_SELF | MOVE_SELF | ONLYDIR
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that happened."""

    watch: int
    mask: int
    name: str
    """The file's, within its folder; empty where it is of the folder itself."""


class Inotify:
    """One of the kernel's queues. `fileno` is readable when there is something."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def add(self, folder: int) -> int:
        """Watch a folder, by its descriptor; a number that is the same for the same
        folder. Raises `OSError`."""
        path = f"/proc/self/fd/{folder}".encode()
        return _checked(
            _libc.inotify_add_watch(
                self._fd, ctypes.c_char_p(path), ctypes.c_uint32(_MASK)
            )
        )

    def remove(self, watch: int) -> None:
        """That it is gone already is no error."""
        _libc.inotify_rm_watch(self._fd, watch)

    def read(self) -> Iterator[Seen]:
        """All that has happened. Never waits."""
        while True:
            try:
                data = os.read(self._fd, READ_SIZE)
            except BlockingIOError:
                return
            yield from parse(data)


def parse(data: bytes) -> Iterator[Seen]:
    """What one `read` gives."""
    at = 0
    while at < len(data):
        watch, mask, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name = data[at : at + length].rstrip(b"\0")
        at += length
        yield Seen(watch, mask, os.fsdecode(name))


def open_below(root: Path, relative: Path) -> int:
    """A descriptor of a folder below another, no step to which is a link. Raises
    `OSError`, also where one is."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in relative.parts:
        try:
            inner = os.open(part, flags, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
