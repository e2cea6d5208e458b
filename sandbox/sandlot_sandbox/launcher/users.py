"""Who a jail runs as: a user id of its own where we are root, ours where we are not."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from sandlot_sandbox import linux
from sandlot_sandbox.guest.enter import INNER_ID
from sandlot_sandbox.spec import MAX_ZYGOTES

_BASE = 1_000_000_000
_OUR_MAPS = Path("/proc/self")
_LAUNCHERS = 1 << 20
"""How many pids have a range of their own; ranges of launchers alive at the same
time must not meet, and no two of them have the same pid."""


def can_give_ids() -> bool:
    """Whether the ids that `UserIds` gives exist here: not so in a user namespace that
    maps but a few, as a container's may."""
    last = _BASE + _LAUNCHERS * MAX_ZYGOTES
    return all(_is_mapped(kind, _BASE, last) for kind in ("uid_map", "gid_map"))


def _is_mapped(kind: str, first: int, last: int) -> bool:
    for line in (_OUR_MAPS / kind).read_text().splitlines():
        start, _, count = (int(field) for field in line.split())
        if start <= first and last <= start + count:
            return True
    return False


def is_root_of_many() -> bool:
    """Whether each jail can have a user of its own."""
    return os.geteuid() == 0 and can_give_ids()


@contextlib.contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Be somebody else for a moment. Each change has the kernel forget what we have
    asked for: to be hidden, and to die with our parent."""
    parent = os.getppid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        linux.set_dumpable(dumpable=False)
        linux.set_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _any_of(count: int) -> int:
    """An index. Not by `random`, which would have every fork carry OpenSSL."""
    return int.from_bytes(os.urandom(8), "big") % max(1, count)


class UserIds:
    """Host ids for zygotes: never two live ones with the same, where we are root."""

    def __init__(self, *, is_root: bool) -> None:
        self._is_root = is_root
        self._first = _BASE + os.getpid() % _LAUNCHERS * MAX_ZYGOTES
        self._free = list(range(MAX_ZYGOTES))

    def take(self) -> int:
        """An id as this process's user namespace counts them. Raises `IndexError`."""
        # Any: a jail can read its id out of its mounts, and the lowest free one, or the
        # last that became free, would tell how many others live or have just died.
        slot = self._free.pop(_any_of(len(self._free)))
        return self._first + slot if self._is_root else 0

    @property
    def is_root(self) -> bool:
        return self._is_root

    def of_owner(self, folder: int) -> tuple[int, int]:
        """Whose an open folder is, user and group: not root's. Raises `OSError`."""
        if not self._is_root:
            return 0, 0
        found = os.fstat(folder)
        if 0 in (found.st_uid, found.st_gid):
            raise OSError("a jail would run as root: the folder is root's")
        return found.st_uid, found.st_gid

    def give_back(self, uid: int) -> None:
        self._free.append(uid - self._first if self._is_root else 0)


def become_root_of_own_namespace() -> None:
    """For an ordinary user: hold all capabilities, over nothing but what we make.

    Raises `OSError` where the kernel or a security module refuses.
    """
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    write_maps("self", uid, gid, inner=0)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)


def write_maps(pid: int | str, uid: int, gid: int, *, inner: int = INNER_ID) -> None:
    """Map one user and group into a new user namespace; nobody else exists there."""
    process = Path("/proc") / str(pid)
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{inner} {uid} 1")
    (process / "gid_map").write_text(f"{inner} {gid} 1")
