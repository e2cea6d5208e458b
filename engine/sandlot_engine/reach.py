"""Lets an unprivileged engine reach what only root could walk to.

Started as root, the engine gives up root, and may then be unable to reach its own
interpreter or data: below /root, say, or in a private temporary folder. So, while it
is still root, it takes a mount namespace of its own, in which a folder that would
be closed to it is covered by an empty one that holds just what is needed. The rest
of that folder is gone from the engine's sight, which does no harm either.
"""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from sandlot_sandbox import linux


def own_code() -> list[Path]:
    """What we ourselves are read from."""
    beside = [Path(path) for path in sys.path if Path(path).is_dir()]
    return [Path(sys.prefix), Path(sys.base_prefix), *beside]


def make_reachable(paths: Iterable[Path], *, uid: int) -> None:
    """Open the way to `paths` for `uid`, in a mount namespace of this process's own.

    For root only. Raises `OSError`.
    """
    wanted: dict[Path, list[Path]] = {}
    for path in {path.resolve() for path in paths}:
        if (closed := _first_closed(path, uid)) is not None:
            wanted.setdefault(closed, []).append(path)
    if not wanted:
        return
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    for closed, inside in wanted.items():
        _cover(closed, _without_nested(inside))


def _cover(closed: Path, inside: list[Path]) -> None:
    sources = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside]
    mode = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("sandlot", str(closed), "tmpfs", mode, "size=1m,mode=755")
    for path, source in zip(inside, sources, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if stat.S_ISDIR(os.fstat(source).st_mode):
            path.mkdir(exist_ok=True, mode=0o755)
        else:
            path.touch()
        linux.mount(f"/proc/self/fd/{source}", str(path), None, linux.MS_BIND)
        os.close(source)


def _first_closed(path: Path, uid: int) -> Path | None:
    """The topmost ancestor that `uid` may not walk through."""
    for ancestor in [*path.parents][::-1]:
        found = ancestor.stat()
        bit = stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH
        if not found.st_mode & bit:
            return ancestor
    return None


def _without_nested(paths: list[Path]) -> list[Path]:
    """Those that do not lie in another: it brings them along."""
    return [path for path in sorted(paths) if not any(p in path.parents for p in paths)]
