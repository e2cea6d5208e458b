"""Whose the files of the data folder are, and what: after a backup was brought back by
somebody else, or in part, each would fail in its way, or others' would be removed."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from sandlot_engine.errors import Refusal

PACKAGES = (".zip", ".tar")
"""What of `code/` is brought back; the rest is made anew."""

_DATABASE = ("sandlot.db", "sandlot.db-wal", "sandlot.db-shm")
_FILES = (*_DATABASE, "master.key", "operator.json", "engine.json")


def check_ours(data: Path, *, uid: int) -> None:
    """Raise `Refusal` where something that the engine keeps there is not its own, or no
    file; and where the database is gone, and packages are there."""
    others = [path for path in _kept(data) if path.lstat().st_uid != uid]
    if not others:
        _check_files(data)
        _check_usable(data)
        _check_not_gone(data)
        return
    more = f" and {len(others) - 1} more belong" if len(others) > 1 else " belongs"
    folder, packages = shlex.quote(str(data)), shlex.quote(f"{data}/code/*")
    raise Refusal(
        f"{others[0]}{more} to user {others[0].lstat().st_uid}, and the engine"
        f" runs as {uid}, as after a backup was brought back by somebody else. Run:"
        f" find {folder} -maxdepth 2 \\( -name 'sandlot.db*' -o -name 'master.key*' -o"
        f" -name operator.json -o -name engine.json -o -path {packages} \\)"
        f" -exec chown -h {uid} {{}} +"
    )


def _check_files(data: Path) -> None:
    for path in map(data.joinpath, _FILES):
        if os.path.lexists(path) and not path.is_file():
            raise Refusal(
                f"{path} is no file, and the engine keeps one there. Move it away, and"
                " bring the file back from a backup; engine.json is made anew."
            )


def _check_not_gone(data: Path) -> None:
    database = data / _DATABASE[0]
    if database.exists() and database.stat().st_size:
        return
    if packages := sum(path.parent.name == "code" for path in _kept(data)):
        # Nothing would refer to them, and what nothing refers to is removed.
        raise Refusal(
            f"{database} is gone, or empty, and with it all functions, tenants and"
            f" keys; {packages} of their packages are in {data / 'code'}. Bring it back"
            f" from a backup; or, to begin anew, move {data / 'code'} away."
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
    for name in _FILES:
        if os.path.lexists(data / name):
            yield data / name
    if (data / "code").is_dir():
        with os.scandir(data / "code") as entries:
            yield from (Path(e.path) for e in entries if e.name.endswith(PACKAGES))
