"""What the engine holds of a cell while an instance lives in it: how to freeze it, and
what it uses. Files of its control group, as far as there is one."""

import contextlib
import os

from sandlot_sandbox import memory_stat

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

    __slots__ = ("_brake", "_parts")

    def __init__(self, parts: dict[str, int]) -> None:
        self._parts = parts
        self._brake = next((name for name in _WORDS if name in parts), None)
        if self._brake == "leash":
            os.set_blocking(parts["leash"], False)

    @property
    def parts(self) -> dict[str, int]:
        """Its descriptors by their names; they stay its own."""
        return dict(self._parts)

    @property
    def counts_memory(self) -> bool:
        return "usage" in self._parts

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

    def uses_more_than(self, limit: int) -> bool:
        """Whether everything in there together uses more bytes of memory than `limit`:
        without what lies in its /tmp, and without what the kernel remembers of files,
        which it can forget."""
        used = self._number("usage") - self._in_tmp()
        return used > limit and used - memory_stat.of_files(self._read("stat")) > limit

    def _in_tmp(self) -> int:
        if "tmp" not in self._parts:
            return 0
        tmp = os.fstatvfs(self._parts["tmp"])
        return (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize

    def used_kb(self) -> int:
        """The memory that it uses now, with its /tmp; 0 where nobody counts."""
        return self._number("usage") // _KB

    def peak_kb(self) -> int:
        """The most memory that it used, with its /tmp; 0 where nobody counts."""
        return self._number("peak") // _KB

    def ran_out(self) -> bool:
        """Whether the kernel had to kill something in there for want of memory."""
        for line in self._read("events").splitlines():
            name, _, count = line.partition(b" ")
            if name == b"oom_kill":
                return count != b"0"
        return False

    def close(self) -> None:
        for fd in self._parts.values():
            os.close(fd)
        self._parts = {}
        self._brake = None

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

    def _read(self, name: str) -> bytes:
        if name not in self._parts:
            return b""
        with contextlib.suppress(OSError):
            return os.pread(self._parts[name], _READ, 0)
        return b""
