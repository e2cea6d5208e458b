"""Code on disk: `SHA256.zip` as it was uploaded, and `SHA256/` as it is mounted.

Both appear whole or not at all, and a name says its content, so that nothing here
is ever changed, only made and removed. Work is done in a few threads and to its
end: a caller who gives up leaves no thread behind that works without its lock.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.locks import KeyedLocks
from sandlot_engine.catalog.packages import TEMPORARY, check, sync_folder, unpack
from sandlot_engine.errors import Internal, SandlotError
from sandlot_engine.model.function import Code

T = TypeVar("T")

THREADS = 2
"""Packages that are checked or unpacked at once; the others wait."""

_FOLDER = 0o711
"""Anybody may go to a package whose name they know; nobody else may list them."""


class CodeStore:
    """The packages of all tenants below `root`; an async context manager."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._keeper = Keeper()
        self._locks = KeyedLocks()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="code")

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

    async def put(self, zip_bytes: bytes) -> Code:
        """Check a package and keep it. Keeping one again changes nothing.

        Raises `InvalidParameter` or `TooLarge`, see `packages.check`.
        """
        facts = await self._run(lambda: check(zip_bytes))
        zip_path = self._zip(facts.sha256)
        await self._alone(facts.sha256, lambda: _write_file(zip_path, zip_bytes))
        return Code(
            sha256=facts.sha256, size=facts.size, unpacked_size=facts.unpacked_size
        )

    async def unpacked(self, code: Code) -> Path:
        """The folder with the package's files; the first to ask has it unpacked.

        Raises `Internal` where the package is gone or the disk fails.
        """
        zip_path, folder = self._zip(code.sha256), self._root / code.sha256
        await self._alone(code.sha256, lambda: unpack(zip_path, folder))
        return folder

    async def read(self, code: Code) -> bytes:
        """The package as it was uploaded."""
        return await self._run(self._zip(code.sha256).read_bytes)

    async def discard(self, code: Code) -> None:
        """Remove a package, whether it is there or not.

        Only for one that nobody refers to: an instance may have it mounted.
        """
        await self._alone(code.sha256, lambda: _remove(self._root, code.sha256))

    async def keep_only(self, sha256s: Collection[str]) -> None:
        """Remove all other packages; for the start, before anybody adds one."""
        wanted = frozenset(sha256s)
        await self._run(lambda: _remove_all_but(self._root, wanted))

    def _zip(self, sha256: str) -> Path:
        return self._root / f"{sha256}.zip"

    async def _alone(self, sha256: str, work: Callable[[], T]) -> T:
        """Run `work` while nobody else works on the same package."""

        async def in_turn() -> T:
            async with self._locks.hold(sha256):
                return await self._run(work)

        return await self._keeper.whole(in_turn())

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except SandlotError:
            raise
        except OSError as error:
            raise Internal(
                f"The code store failed ({error.strerror}). Look for a full disk in "
                "the data directory."
            ) from error


def _make_root(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_FOLDER)
    for path in root.glob(f"{TEMPORARY}*"):
        _remove_path(path)


def _write_file(path: Path, content: bytes) -> None:
    if path.exists():
        return
    new = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, 0o600), "wb") as file:  # noqa: PTH123 -- a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _remove(root: Path, sha256: str) -> None:
    folder = root / sha256
    if folder.exists():
        # Renamed first: half a folder must never bear the name of a whole one.
        doomed = root / f"{TEMPORARY}{sha256}-{secrets.token_hex(8)}"
        folder.rename(doomed)
        _remove_path(doomed)
    _remove_path(root / f"{sha256}.zip")


def _remove_all_but(root: Path, wanted: frozenset[str]) -> None:
    present = {path.name.removesuffix(".zip") for path in root.iterdir()}
    for sha256 in present - wanted:
        _remove(root, sha256)


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    with suppress(FileNotFoundError):
        path.unlink()
