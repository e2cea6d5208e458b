"""Groups of launchers that are gone, removed when all that was in them is dead."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.files import remove_all, write_file

PREFIX = "sandlot-"
"""Of the name of a tree, before the pid of its launcher."""

_SWEEP_S = 2.0
_LOOK_AGAIN_S = 0.01


def remove_when_empty(folders: list[Path], limit_s: float) -> None:
    """With all below them. Returns when they are gone, or after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for folder in folders:
            with contextlib.suppress(OSError):
                _thaw_all(folder)
            remove_all(folder)
        if not any(folder.exists() for folder in folders):
            return
        time.sleep(_LOOK_AGAIN_S)


def _thaw_all(folder: Path) -> None:
    for state in folder.rglob("freezer.state"):
        # A tree's own, and a roof's, are never frozen.
        with contextlib.suppress(OSError):
            write_file(state, b"THAWED")


def claim(folder: Path) -> int:
    """A descriptor that says, as long as it is open, that somebody lives in this tree.
    Its name is a pid, and of launchers in other pid namespaces that tells nothing.
    Raises `OSError`."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sweep(parents: list[Path]) -> None:
    """Remove what launchers have left that were killed together with their janitors."""
    left = [
        folder
        for parent in parents
        for folder in parent.glob(f"{PREFIX}*")
        if _is_of_nobody(folder)
    ]
    # Together: what is frozen by one hierarchy is in the others as well.
    remove_when_empty(left, _SWEEP_S)


def _is_of_nobody(folder: Path) -> bool:
    pid, _, district = folder.name.removeprefix(PREFIX).partition(".")
    # The pid as well: between the making of a folder and its being claimed.
    if not f"{pid}{district}".isdigit() or Path(f"/proc/{pid}").exists():
        return False
    try:
        os.close(claim(folder.with_name(f"{PREFIX}{pid}")))
    except FileNotFoundError:
        return bool(district)  # it outlives its tree for a moment, and nobody else
    except OSError:
        return False
    return True
