"""Whose the files of the data folder are: after a backup was brought back by somebody
else, the engine's user may not be able to open them, and each would fail in its way."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from sandlot_engine.errors import Refusal

PACKAGES = (".zip", ".tar")
"""What of `code/` is brought back; the rest is made anew."""

_DATABASE = ("sandlot.db", "sandlot.db-wal", "sandlot.db-shm")


def check_ours(data: Path, *, uid: int) -> None:
    """Raise `Refusal` where something that the engine keeps there is not its own."""
    others = [path for path in _kept(data) if path.lstat().st_uid != uid]
    if not others:
        _check_usable(data)
        return
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    folder, packages = shlex.quote(str(data)), shlex.quote(f"{data}/code/*")
    raise Refusal(
        f"{others[0]}{more} belong to user {others[0].lstat().st_uid}, and the engine"
        f" runs as {uid}, as after a backup was brought back by somebody else. Run:"
        f" find {folder} -maxdepth 2 \\( -name 'sandlot.db*' -o -name master.key -o"
        f" -name operator.json -o -path {packages} \\)"
        f" -exec chown -h {uid} {{}} +"
    )


def _check_usable(data: Path) -> None:
    for path in map(data.joinpath, _DATABASE):
        # SQLite itself would open them to read, and fail with the first change.
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            mode = stat.S_IMODE(path.stat().st_mode)
            raise Refusal(
                f"{path} cannot be used: its mode is {mode:04o}. Run: chmod 600 {path}"
            )


def _kept(data: Path) -> Iterator[Path]:
    for name in (*_DATABASE, "master.key", "operator.json"):
        if os.path.lexists(data / name):
            yield data / name
    if (data / "code").is_dir():
        with os.scandir(data / "code") as entries:
            yield from (Path(e.path) for e in entries if e.name.endswith(PACKAGES))
