"""One group: who is in it is held to its limits."""

import contextlib
import os
import signal
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.files import (
    closed_on_error,
    make_folder,
    open_file,
    remove_each,
    write_file,
)
from sandlot_sandbox.launcher.cgroups.interface import Interface, widest_first
from sandlot_sandbox.launcher.users import acting_as
from sandlot_sandbox.limits import Share
from sandlot_sandbox.memory_group import FILES

_PROCESSES_AT_A_LOOK = 8
_KILL_BIT = 1 << (signal.SIGKILL - 1)


class Group:
    """One zygote's or one cell's. Made by a `Family`."""

    def __init__(self, interface: Interface, folders: dict[str, Path]) -> None:
        self._interface = interface
        self._folders = folders

    def make(self, share: Share) -> None:
        """Raises `OSError`, leaving nothing behind."""
        try:
            for folder in self._folders.values():
                make_folder(folder)
            self._interface.limit(self._folders, self._interface.limits_of(share))
        except BaseException:
            self.remove()
            raise

    def widen(self, share: Share) -> None:
        """Raises `OSError`."""
        limits = widest_first(self._interface.limits_of(share))
        self._interface.limit(self._folders, limits)

    def slow_down(self) -> None:
        """Who is still in there may end, and do little else meanwhile."""
        with contextlib.suppress(OSError):
            self._interface.limit(self._folders, self._interface.slowest)

    def open_joins(self) -> list[int]:
        """Descriptors; who writes `0` to each is in the group."""
        with closed_on_error() as opened:
            for file in self._join_files():
                opened.append(open_file(file, os.O_WRONLY))
            return opened

    def open_joins_of(self, uid: int) -> list[int]:
        """The same, but good for processes of that user alone, whoever gets hold of
        them: the kernel looks at who has opened them. We are root."""
        for file in self._join_files():
            os.chown(file, uid, -1)
        with acting_as(uid):
            return self.open_joins()

    def open_files(self) -> dict[str, int]:
        """For whoever minds an instance: `freeze`, or v1's `freezer`, to write to; and
        where memory is controlled the folder in which that is told, `memory_v1` or
        `memory_v2`. Raises `OSError`: what is promised must be there."""
        with closed_on_error() as opened:
            found = {}
            for kind, (part, file, flags) in self._interface.files.items():
                found[kind] = open_file(self._folders[part] / file, flags)
                opened.append(found[kind])
            kind = self._interface.memory_kind
            if kind in found:
                # Whoever minds it opens these later, and takes none for nothing.
                os.stat(FILES[kind].usage, dir_fd=found[kind])
                os.stat(FILES[kind].stat, dir_fd=found[kind])
            return found

    def thaw(self) -> None:
        """What is frozen in v1 does not even die; in v2 it does."""
        if "freezer" in self._interface.files:
            part, file, _ = self._interface.files["freezer"]
            with contextlib.suppress(OSError):
                write_file(self._folders[part] / file, b"THAWED")

    def thaw_if_killed(self) -> None:
        """Let go of what is frozen, and was killed by somebody else meanwhile."""
        if "freezer" in self._interface.files:
            part, _, _ = self._interface.files["freezer"]
            with contextlib.suppress(OSError):
                pids = (self._folders[part] / "cgroup.procs").read_text().split()
                # A tenant can have as many as it likes, and we little time.
                if any(_is_killed(pid) for pid in pids[:_PROCESSES_AT_A_LOOK]):
                    self.thaw()

    def remove(self) -> bool:
        """Whether it is gone; a process that is still dying keeps it for a moment."""
        return remove_each(self._folders.values())

    def _join_files(self) -> list[Path]:
        return [folder / self._interface.join_file for folder in self._folders.values()]


def _is_killed(pid: str) -> bool:
    """Whether a SIGKILL waits for it."""
    # As bytes: its name, in there as well, is what its tenant likes.
    for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
        name, _, mask = line.partition(b":")
        if name in (b"SigPnd", b"ShdPnd") and int(mask, 16) & _KILL_BIT:
            return True
    return False
