"""A folder of the data directory that somebody takes away from under the engine."""

import logging
from pathlib import Path

from sandlot_engine.errors import Troubled
from sandlot_engine.troubles import LastingTrouble

_log = logging.getLogger(__name__)


class Folder:
    """The one that is there when this is made: the launcher has it open, and would not
    know another. Callers are told each time that it is gone, the operator once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = _identity(path)
        self._trouble = LastingTrouble(_log.error)

    def check(self) -> None:
        """Raise `Troubled` for as long as it is not in its place."""
        if why := self.trouble():
            raise Troubled(why)

    def trouble(self) -> str:
        """Why nothing can be started from it; empty while it is in its place."""
        found = _identity(self._path)
        if found is not None and found == self._opened:
            self._trouble.ended()
            return ""
        what = "is gone" if found is None else "is not the one that it started with"
        why = (
            f"The folder {self._path.name}/ of the engine's data directory {what}, so"
            " nothing can be started from it. Its operator has to put it back, or to"
            " restart the engine."
        )
        self._trouble.tell("%s", why)
        return why


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
