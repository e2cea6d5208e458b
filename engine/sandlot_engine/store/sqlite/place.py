"""Whether the database's files are still the ones that were opened.

Who deletes them, or puts others in their place, does nothing to whoever has them open:
that goes on writing, into what nobody will find again.
"""

from pathlib import Path

from sandlot_engine.errors import Troubled

_BESIDE = ("", "-wal", "-shm")
"""SQLite opens the latter two by name as well, and keeps them for as long as somebody
has the database open."""


class Place:
    """The files of one database, from when it was opened on."""

    def __init__(self, path: Path) -> None:
        files = (path.with_name(path.name + end) for end in _BESIDE)
        self._opened = {file: _identity(file) for file in files if file.exists()}

    def check(self) -> None:
        """Raise `Troubled` for as long as one is gone, or another is there."""
        for file, opened in self._opened.items():
            try:
                if _identity(file) == opened:
                    continue
                what = "another file was put in its place"
            except OSError as error:
                what = f"it is gone ({error.strerror})"
            raise Troubled(
                f"What the engine has open as {file.name} is not there any more:"
                f" {what}. Put the one that was there back; or stop the engine, and"
                ' bring back a backup (operations.md, "A database that is gone").'
            )


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino
