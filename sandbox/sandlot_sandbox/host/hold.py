"""What the engine holds of a cell while an instance lives in it: how to freeze it, and
what it uses. As few open files as can be: there are thousands of instances, and one
that waits needs none but what wakes it. So what its control group counts is opened
when it is read, in a folder that stays open."""

import os

from sandlot_sandbox.host.closer import close_tmp
from sandlot_sandbox.memory_group import FILES, of_files

_WORDS: dict[str, tuple[bytes, bytes]] = {
    "freeze": (b"1", b"0"),
    "freezer": (b"FROZEN", b"THAWED"),
    "leash": (b"1", b"0"),
}
"""What freezes and what thaws, by what is written to."""

_READ = 8192
_KB = 1024


class Hold:
    """Owns the descriptors of `parts`; see `spec.CellMade` for what they are."""

    __slots__ = ("_brake", "_memory", "_parts")

    def __init__(self, parts: dict[str, int]) -> None:
        self._parts = parts
        self._brake = next((name for name in _WORDS if name in parts), None)
        self._memory = next((name for name in FILES if name in parts), None)
        """Its group's folder."""

        if self._brake == "leash":
            os.set_blocking(parts["leash"], False)

    @property
    def parts(self) -> dict[str, int]:
        """Its descriptors by their names; they stay its own."""
        return dict(self._parts)

    @property
    def can_freeze(self) -> bool:
        """Whether there is what freezes it; zygotes need a control group for that."""
        return self._brake is not None

    def freeze(self) -> bool:
        """Have nothing in there run; whether that could be ordered."""
        return self._order(0)

    def thaw(self) -> bool:
        """Have it go on; whether that could be ordered."""
        return self._order(1)

    def uses_too_much(self, limit: int) -> bool:
        """Whether everything in there together uses more bytes of memory than `limit`:
        without what lies in its /tmp, and without what the kernel remembers of files,
        which it can forget. Or whether the kernel had to kill some of it for that."""
        if self._memory is None:
            return False
        files = FILES[self._memory]
        peak = self._read(files.peak)
        if peak and int(peak) <= limit:
            return False  # the usual case, with one look
        return self.ran_out() or self.uses_more_than(limit)

    def uses_more_than(self, limit: int) -> bool:
        """The first half of `uses_too_much`: whether it is more than `limit`, whatever
        was killed."""
        if self._memory is None:
            return False
        files = FILES[self._memory]
        used = self._number(files.usage)
        if used <= limit:
            return False
        used -= self._in_tmp()
        return used > limit and used - of_files(self._read(files.stat)) > limit

    def _in_tmp(self) -> int:
        if "tmp" not in self._parts:
            return 0
        tmp = os.fstatvfs(self._parts["tmp"])
        return (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize

    def used_kb(self) -> int:
        """The memory that it uses now, with its /tmp; 0 where nobody counts."""
        if self._memory is None:
            return 0
        return self._number(FILES[self._memory].usage) // _KB

    def peak_kb(self) -> int:
        """The most memory that it used, with its /tmp; 0 where nobody counts."""
        if self._memory is None:
            return 0
        return self._number(FILES[self._memory].peak) // _KB

    def ran_out(self) -> bool:
        """Whether the kernel had to kill something in there for want of memory."""
        if self._memory is None:
            return False
        for line in self._read(FILES[self._memory].events).splitlines():
            name, _, count = line.partition(b" ")
            if name == b"oom_kill":
                return count != b"0"
        return False

    def close(self) -> None:
        for name, fd in self._parts.items():
            if name == "tmp":
                close_tmp(fd)
            else:
                os.close(fd)
        self._parts = {}
        self._brake = self._memory = None

    def _order(self, which: int) -> bool:
        if self._brake is None:
            return False
        try:
            os.write(self._parts[self._brake], _WORDS[self._brake][which])
        except OSError:
            return False  # it is dying, or does not read; whoever asked ends it
        return True

    def _number(self, name: str) -> int:
        return int(self._read(name) or 0)

    def _read(self, file: str) -> bytes:
        """Empty where it cannot be read: the group has just gone, the kernel is older
        than the file, or we have too many open. Its hard limit holds all the same."""
        assert self._memory is not None  # noqa: S101 - whoever asks has looked
        folder = self._parts[self._memory]
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return b""
        try:
            return os.read(fd, _READ)
        except OSError:
            return b""
        finally:
            os.close(fd)
