"""Code on disk: `SHA256.zip` as it was uploaded, `SHA256-RUNTIME/` as it is mounted.

The folder holds the files of the zip and that runtime's bytecode. A builder makes it,
in a jail: the engine opens no stranger's zip, and looks at nothing that came of one.

Both appear whole or not at all, and a name says its content, so that nothing here
is ever changed, only made and removed. Work is done to its end: a caller who gives
up leaves nothing behind that works without its lock.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sandlot_engine.catalog import packages
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.locks import KeyedLocks
from sandlot_engine.errors import Internal, SandlotError
from sandlot_engine.model.function import Code

T = TypeVar("T")

BUILDS = 2
"""Packages that are unpacked and compiled at once; the others wait."""

THREADS = 2
"""For files: writing, syncing, removing."""

Build = Callable[[str, int, int], Awaitable[int]]
"""Unpack and compile for a runtime, by its name, a zip into an empty folder, both open
and not to be closed. Returns the bytes of the zip's files. Afterwards, however it
ends, nobody writes into the folder any more. Raises `InvalidParameter` for what is
refused, a `Fault` where our side broke."""

_FOLDER = 0o711
"""Anybody may go to a package whose name they know; nobody else may list them."""


class CodeStore:
    """The packages of all tenants below `root`; an async context manager."""

    def __init__(self, root: Path, *, build: Build) -> None:
        self._root = root
        self._build = build
        self._keeper = Keeper()
        self._locks = KeyedLocks()
        self._room = asyncio.Semaphore(BUILDS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="code")
        self._unpacked_sizes: dict[str, int] = {}
        """By hash, of packages that are here and were built by us."""

    async def __aenter__(self) -> Self:
        await self._run(lambda: _make_root(self._root))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._keeper.__aexit__(kind, error, traceback)
        await asyncio.to_thread(self._threads.shutdown)

    async def hash(self, zip_bytes: bytes) -> str:
        """The SHA-256 under which `put` would store a package."""
        return await self._run(lambda: hashlib.sha256(zip_bytes).hexdigest())

    async def put(self, zip_bytes: bytes, runtime: str) -> Code:
        """Keep a package, built for a runtime. Keeping one again changes nothing.

        Raises `TooLarge`, or what `Build` raises; a package that was refused leaves
        nothing behind.
        """
        packages.check_size(zip_bytes)
        sha256 = await self.hash(zip_bytes)
        unpacked_size = await self._alone(
            sha256, lambda: self._put(sha256, zip_bytes, runtime)
        )
        return Code(sha256=sha256, size=len(zip_bytes), unpacked_size=unpacked_size)

    async def unpacked(self, code: Code, runtime: str) -> Path:
        """The folder with the package's files and their bytecode, built if it is not.

        Raises `Internal` where the package is gone or the disk fails, and what
        `Build` raises.
        """
        folder = self._folder(code.sha256, runtime)
        await self._alone(code.sha256, lambda: self._make(code.sha256, runtime))
        return folder

    async def read(self, code: Code) -> bytes:
        """The package as it was uploaded."""
        return await self._run(self._zip(code.sha256).read_bytes)

    async def discard(self, code: Code) -> None:
        """Remove a package, whether it is there or not.

        Only for one that nobody refers to: an instance may have it mounted.
        """
        await self._alone(code.sha256, lambda: self._discard(code.sha256))

    async def keep_only(self, sha256s: Collection[str]) -> None:
        """Remove all other packages; for the start, before anybody adds one."""
        wanted = frozenset(sha256s)
        await self._run(
            lambda: _remove(self._root, lambda sha256: sha256 not in wanted)
        )

    # --- one package, while nobody else works on it -----------------------------

    async def _put(self, sha256: str, zip_bytes: bytes, runtime: str) -> int:
        path = self._zip(sha256)
        is_new = await self._run(lambda: packages.write_file(path, zip_bytes))
        try:
            if sha256 in self._unpacked_sizes:
                await self._make(sha256, runtime)
            else:
                # Also where an engine before this one did: only a builder can tell.
                await self._build_anew(sha256, runtime)
        except BaseException:
            if is_new:
                await self._clear_away(path)
            raise
        return self._unpacked_sizes[sha256]

    async def _make(self, sha256: str, runtime: str) -> None:
        if not await self._run(self._folder(sha256, runtime).is_dir):
            await self._build_anew(sha256, runtime)

    async def _build_anew(self, sha256: str, runtime: str) -> None:
        """Build into a folder of its own, which then takes the place, if it is free."""
        path = self._folder(sha256, runtime)
        new = packages.temporary_beside(path)
        async with self._room:
            try:
                with ExitStack() as opened:
                    zip_path = self._zip(sha256)
                    package = await self._run(lambda: packages.open_file(zip_path))
                    opened.callback(os.close, package)
                    folder = await self._run(lambda: packages.make_folder(new))
                    opened.callback(os.close, folder)
                    size = await self._build(runtime, package, folder)
                    await self._run(lambda: packages.publish(folder, new, path))
            except BaseException:
                await self._clear_away(new)
                raise
        self._unpacked_sizes[sha256] = size

    async def _clear_away(self, path: Path) -> None:
        # What is left in spite of this goes at the next start.
        with suppress(SandlotError):
            await self._run(lambda: packages.remove(path))

    async def _discard(self, sha256: str) -> None:
        self._unpacked_sizes.pop(sha256, None)
        await self._run(lambda: _remove(self._root, lambda found: found == sha256))

    def _zip(self, sha256: str) -> Path:
        return self._root / f"{sha256}.zip"

    def _folder(self, sha256: str, runtime: str) -> Path:
        return self._root / f"{sha256}-{runtime}"

    async def _alone(self, sha256: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work`, to its end, while nobody else works on the same package."""

        async def in_turn() -> T:
            async with self._locks.hold(sha256):
                return await work()

        return await self._keeper.whole(in_turn())

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except OSError as error:
            raise Internal(
                f"The code store failed ({error.strerror}). Look for a full disk in "
                "the data directory."
            ) from error


def _make_root(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_FOLDER)
    for path in root.glob(f"{packages.TEMPORARY}*"):
        packages.remove(path)


def _remove(root: Path, is_doomed: Callable[[str], bool]) -> None:
    """Remove the packages, as zips and as folders, of such hashes."""
    for path in list(root.iterdir()):
        if is_doomed(path.name[:_HASH_LENGTH]):
            # Renamed first: half a folder must never bear the name of a whole one.
            doomed = packages.temporary_beside(path)
            path.rename(doomed)
            packages.remove(doomed)


_HASH_LENGTH = 64
