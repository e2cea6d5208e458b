"""The folder with all packages: how they are called, and what threads work in it."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sandlot_engine.catalog import packages, room
from sandlot_engine.errors import Internal, SandlotError
from sandlot_engine.folders import Folder
from sandlot_engine.threads import started

T = TypeVar("T")
_log = logging.getLogger(__name__)

THREADS = 2
"""For files: writing, syncing, removing."""

_FOLDER = 0o711
"""Anybody may go to a package whose name they know; nobody else may list them."""

_HASH_LENGTH = 64


class Shelf:
    """`root`, from `open` to `close`. What is done in a thread here raises `Troubled`
    where the disk is full or the folder not in its place, and else `Internal`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._threads = started(THREADS, "code")
        # Of its own: a zygote's start looks whether its folder is there, and the others
        # copy an image, or remove a hundred thousand files.
        self._looking = started(1, "code-look")
        self.disk = room.Room()
        self._place: Folder | None = None
        """`root`, once it is there."""

    async def open(self) -> None:
        """Make it, and clear away what was half made."""
        await self.run(lambda: _make_root(self.root))
        self._place = Folder(self.root)

    async def close(self) -> None:
        for threads in (self._threads, self._looking):
            await asyncio.to_thread(threads.shutdown)

    def zip(self, sha256: str) -> Path:
        """A package, as it came."""
        return self.root / f"{sha256}.zip"

    def archive(self, sha256: str) -> Path:
        """An image, as it came."""
        return self.root / f"{sha256}.tar"

    def folder(self, sha256: str, runtime: str) -> Path:
        """What a builder has made of either."""
        return self.root / f"{sha256}-{runtime}"

    def trouble(self) -> str:
        """Why nothing can be started from here; empty where it can."""
        return self._place.trouble() if self._place is not None else ""

    def check_place(self) -> None:
        """Raise `Troubled` where nothing can."""
        if self._place is not None:
            self._place.check()

    async def look(self, work: Callable[[], T]) -> T:
        """What takes no time."""
        return await self._in_thread(self._looking, work)

    async def run(self, work: Callable[[], T]) -> T:
        """What may take seconds."""
        return await self._in_thread(self._threads, work)

    async def clear_away(self, path: Path) -> None:
        # What is left in spite of this goes at the next start.
        with suppress(SandlotError):
            await self.run(lambda: packages.remove(path))

    async def remove(self, is_doomed: Callable[[str], bool]) -> None:
        """Remove the packages, as they came and as folders, of such hashes."""
        await self.run(lambda: _remove(self.root, is_doomed))

    async def _in_thread(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, work)
        except OSError as error:
            if room.is_full(error):
                raise self.disk.is_full() from error
            self.check_place()
            raise Internal(
                f"The code store failed ({error.strerror}). Look for a disk that fails "
                "under the data directory."
            ) from error


def _make_root(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_FOLDER)
    for path in root.glob(f"{packages.TEMPORARY}*"):
        _remove_or_tell(path)


def _remove(root: Path, is_doomed: Callable[[str], bool]) -> None:
    for path in list(root.iterdir()):
        is_left_over = path.name.startswith(packages.TEMPORARY)
        if is_doomed(path.name[:_HASH_LENGTH]) and not is_left_over:
            # Renamed first: half a folder must never bear the name of a whole one.
            doomed = packages.temporary_beside(path)
            path.rename(doomed)
            _remove_or_tell(doomed)


def _remove_or_tell(path: Path) -> None:
    """What cannot be removed takes room, and keeps no engine from starting: a disk of
    its own has a `lost+found`, and a backup may have brought back others' files."""
    try:
        packages.remove(path)
    except OSError as error:
        _log.warning(
            "code/%s is of no use, and cannot be removed: %s", path.name, error
        )
