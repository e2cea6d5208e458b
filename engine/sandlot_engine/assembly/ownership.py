"""Whose the files of the data folder are: after a backup was brought back by somebody
else, the engine's user may not be able to open them, and each would fail in its way."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from sandlot_engine.errors import Refusal

PACKAGES = (".zip", ".tar")
"""What of `code/` is brought back; the rest is made anew."""


def check_ours(data: Path, *, uid: int) -> None:
    """Raise `Refusal` where something that the engine keeps there is not its own."""
    others = [path for path in _kept(data) if path.lstat().st_uid != uid]
    if not others:
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


def _kept(data: Path) -> Iterator[Path]:
    names = ("sandlot.db", "sandlot.db-wal", "sandlot.db-shm", "master.key")
    for name in (*names, "operator.json"):
        if os.path.lexists(data / name):
            yield data / name
    if (data / "code").is_dir():
        with os.scandir(data / "code") as entries:
            yield from (Path(e.path) for e in entries if e.name.endswith(PACKAGES))
