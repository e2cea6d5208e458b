"""Files of the data folder that the engine made, and may not use any more."""

import os
import stat
from pathlib import Path

from sandlot_engine.errors import Refusal


def check_ours(path: Path, what: str, *, need: int = os.R_OK | os.W_OK) -> None:
    """Raises `Refusal` where there is such a file, and we may not do with it what we
    `need` to: a backup that root brought back, most likely."""
    if not path.exists() or os.access(path, need):
        return
    found, us = path.stat(), os.geteuid()
    if found.st_uid == us:
        raise Refusal(
            f"{what} {path} cannot be used: its mode is "
            f"{stat.S_IMODE(found.st_mode):04o}. Run: chmod 600 {path}"
        )
    raise Refusal(
        f"{what} {path} cannot be used: it belongs to user {found.st_uid}, and the "
        f"engine runs as {us}, as after a backup was brought back by somebody else. "
        f"Run, with all other files of the folder that the engine made: chown {us} "
        f"{path}"
    )
