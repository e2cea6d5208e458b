"""Code on disk: `SHA256.zip` as it was uploaded, `SHA256-RUNTIME/` as it is mounted.

The folder holds the files of the zip and that runtime's bytecode. A builder makes it,
in a jail: the engine opens no stranger's zip, and looks at nothing that came of one.
Layers are zips like any other. The folder of those of a function, merged, is named by
the hash of all their hashes: that of no zip, because what it is the hash of is none.

A container image is `SHA256.tar`, an archive with that image, and the folder that a
builder makes of it, its root file system.

All appear whole or not at all, and a name says its content, so that nothing here
is ever changed, only made and removed. Work is done to its end: a caller who gives
up leaves nothing behind that works without its lock.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from sandlot_engine.catalog import packages, room
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.errors import (
    Internal,
    InvalidParameter,
    NotFound,
    SandlotError,
)
from sandlot_engine.folders import Folder
from sandlot_engine.model.function import (
    IMAGE,
    Code,
    FunctionConfig,
    Image,
    ImageSource,
    Unpacked,
)
from sandlot_engine.threads import started

T = TypeVar("T")
_log = logging.getLogger(__name__)

BUILDS = 2
"""Packages that are unpacked and compiled at once; the others wait."""

THREADS = 2
"""For files: writing, syncing, removing."""


class Images(Protocol):
    """Container images on this machine."""

    def pack(self, uri: str, into: int, /) -> str:
        """Write the image to an open file, as an archive, in a thread; the tag that it
        has in there. Raises `InvalidParameter` for what is no image that a tenant may
        have."""
        ...

    async def build(
        self, archive: int, tag: str, folder: int, /
    ) -> tuple[Unpacked, str]:
        """Make its files in an empty folder, as `Build` does; what its layers come to,
        and the SHA-256 of its manifest."""
        ...


class Build(Protocol):
    """Makes the folder that is mounted."""

    async def __call__(
        self,
        runtime: str,
        packages: Sequence[int],
        folder: int,
        *,
        is_opt: bool = False,
    ) -> Unpacked:
        """Unpack and compile for a runtime, by its name, zips into an empty folder, all
        open and not to be closed. A later zip's files are there in place of those of
        one before; `is_opt` says that they are layers, mounted at /opt.

        Returns what there is then. Afterwards, however it ends, nobody writes into
        the folder any more. Raises `InvalidParameter` for what is refused, `OSError`
        where there is no room, a `Fault` where our side broke otherwise.
        """
        ...


_FOLDER = 0o711
"""Anybody may go to a package whose name they know; nobody else may list them."""


@dataclass(frozen=True, slots=True)
class Staged:
    """An image's archive that has no name yet."""

    uri: str
    path: Path
    sha256: str
    """Computed by us, and so good for a name."""

    size: int
    tag: str


class CodeStore:
    """The packages of all tenants below `root`; an async context manager."""

    def __init__(
        self, root: Path, *, build: Build, images: Images | None = None
    ) -> None:
        self._root = root
        self._build = build
        self._images = images
        self._made_of_images: dict[str, tuple[Unpacked, str]] = {}
        """By hash, of those here and built by us; and the image's digest."""

        self._keeper = Keeper()
        self._turns = Turns(self._keeper)
        """By package."""

        self._room = asyncio.Semaphore(BUILDS)
        self._threads = started(THREADS, "code")
        # Of its own: a zygote's start looks whether its folder is there, and the others
        # copy an image, or remove a hundred thousand files.
        self._looking = started(1, "code-look")
        self._disk = room.Room()
        self._place: Folder | None = None
        """`root`, once it is there."""

        self._unpacked: dict[str, Unpacked] = {}
        """By hash, of packages that are here and were built by us."""

    async def __aenter__(self) -> Self:
        await self._run(lambda: _make_root(self._root))
        self._place = Folder(self._root)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._keeper.__aexit__(kind, error, traceback)
        for threads in (self._threads, self._looking):
            await asyncio.to_thread(threads.shutdown)

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
        unpacked = await self._alone(
            sha256, lambda: self._put(sha256, zip_bytes, runtime)
        )
        return _code(sha256, len(zip_bytes), unpacked)

    @asynccontextmanager
    async def staged(self, source: ImageSource) -> AsyncIterator[Staged]:
        """An image, copied and under no name yet; gone in the end unless it was put.

        Raises `InvalidParameter`.
        """
        images = self._images
        if images is None:
            raise InvalidParameter("There are no images here.", field="image_uri")
        path = packages.temporary_beside(self._root / "image")

        def copy() -> Staged:
            with packages.new_file(path) as file:
                tag = images.pack(source.uri, file)
                os.fsync(file)
            found = packages.hash_of(path)
            # One of an archive's images is not another.
            named = f"{found} {tag}".encode()
            sha256 = hashlib.sha256(named).hexdigest() if tag else found
            return Staged(source.uri, path, sha256, path.stat().st_size, tag)

        try:
            yield await self._run(copy)
        finally:
            await self._clear_away(path)

    async def put_image(self, staged: Staged) -> Code:
        """Keep an image, made into a root file system. Raises as `put` does."""
        sha256, tag = staged.sha256, staged.tag
        unpacked, digest = await self._alone(sha256, lambda: self._put_image(staged))
        image = Image(uri=staged.uri, digest=digest, tag=tag)
        return _code(sha256, staged.size, unpacked, image)

    async def put_layer(self, zip_bytes: bytes, runtime: str) -> Code:
        """Keep a layer's package, once a builder has found no fault with it.

        A layer is for every runtime: `runtime` names any that there is to build with.
        Raises as `put` does.
        """
        packages.check_size(zip_bytes)
        sha256 = await self.hash(zip_bytes)
        unpacked = await self._alone(
            sha256, lambda: self._put_layer(sha256, zip_bytes, runtime)
        )
        return _code(sha256, len(zip_bytes), unpacked)

    async def opt(self, config: FunctionConfig) -> Path | None:
        """The folder with the layers of a function, built if it is not; None where it
        has none. Raises as `unpacked` does.

        The layers' packages have to stay until it returns.
        """
        if not config.layers:
            return None
        sha256, runtime = config.opt_sha256, config.runtime
        zips = [self._zip(layer.code.sha256) for layer in config.layers]
        await self._alone(sha256, lambda: self._make_opt(sha256, runtime, zips))
        return self._folder(sha256, runtime)

    async def has_extensions(self, config: FunctionConfig) -> bool:
        """Whether the layers of a function, once they are built, have a folder of
        Lambda extensions that is not empty."""
        if not config.layers:
            return False
        folder = self._folder(config.opt_sha256, config.runtime) / "extensions"
        return await self._look(lambda: packages.has_entries(folder))

    async def unpacked(self, code: Code, runtime: str) -> Path:
        """The folder with the package's files and their bytecode, built if it is not.

        Raises `Internal` where the package is gone or the disk fails, and what
        `Build` raises.
        """
        folder = self._folder(code.sha256, runtime)
        if (image := code.image) is not None:
            await self._alone(
                code.sha256, lambda: self._make_image(code.sha256, image.tag)
            )
            return folder
        await self._alone(code.sha256, lambda: self._make(code.sha256, runtime))
        return folder

    async def read_hash(self, sha256: str) -> bytes:
        """A package by its hash. Raises `NotFound` where it is gone."""
        path = self._zip(sha256)
        if not await self._look(path.is_file):
            self._check_place()
            raise NotFound(f"There is no package {sha256} any more.")
        return await self._run(path.read_bytes)

    async def discard(self, sha256: str) -> None:
        """Remove a package, or merged layers, whether they are there or not.

        Only for what nobody refers to: an instance may have it mounted.
        """
        await self._alone(sha256, lambda: self._discard(sha256))

    async def keep_only(self, sha256s: Collection[str]) -> None:
        """Remove all other packages and folders; for the start, before anybody adds
        one."""
        wanted = frozenset(sha256s)
        await self._run(
            lambda: _remove(self._root, lambda sha256: sha256 not in wanted)
        )

    # --- one package, while nobody else works on it -----------------------------

    async def _put(self, sha256: str, zip_bytes: bytes, runtime: str) -> Unpacked:
        path = self._zip(sha256)
        is_new = await self._run(lambda: packages.write_file(path, zip_bytes))
        try:
            if sha256 in self._unpacked:
                await self._make(sha256, runtime)
            else:
                # Also where an engine before this one did: only a builder can tell.
                await self._build_anew(sha256, runtime)
        except BaseException:
            if is_new:
                await self._clear_away(path)
            raise
        return self._unpacked[sha256]

    async def _put_image(self, staged: Staged) -> tuple[Unpacked, str]:
        path = self._archive(staged.sha256)
        is_new = await self._run(lambda: packages.take_name(staged.path, path))
        try:
            if staged.sha256 in self._made_of_images:
                await self._make_image(staged.sha256, staged.tag)
            else:
                await self._build_image(staged.sha256, staged.tag)
        except BaseException:
            if is_new:
                await self._clear_away(path)
            raise
        return self._made_of_images[staged.sha256]

    async def _make_image(self, sha256: str, tag: str) -> None:
        if not await self._look(self._folder(sha256, IMAGE).is_dir):
            await self._build_image(sha256, tag)

    async def _build_image(self, sha256: str, tag: str) -> None:
        images = self._images
        if images is None:
            raise Internal("There is nothing that would build an image.")
        path = self._folder(sha256, IMAGE)
        new = packages.temporary_beside(path)
        try:
            async with self._room:
                with ExitStack() as opened:
                    archive = await self._run(
                        lambda: packages.open_file(self._archive(sha256))
                    )
                    opened.callback(os.close, archive)
                    folder = await self._run(lambda: packages.make_folder(new))
                    opened.callback(os.close, folder)
                    with self._disk.looked_after():
                        made = await images.build(archive, tag, folder)
                    await self._run(lambda: packages.publish(folder, new, path))
                    self._disk.is_there()
        except BaseException:
            await self._clear_away(new)
            raise
        self._made_of_images[sha256] = made

    async def _put_layer(self, sha256: str, zip_bytes: bytes, runtime: str) -> Unpacked:
        path = self._zip(sha256)
        is_new = await self._run(lambda: packages.write_file(path, zip_bytes))
        if sha256 not in self._unpacked:
            # Only a builder can tell. What it makes is of no use: functions have
            # layers merged, and bytecode that knows where it is.
            trial = packages.temporary_beside(path)
            try:
                unpacked = await self._build_in(trial, runtime, [path], is_opt=True)
            except BaseException:
                if is_new:
                    await self._clear_away(path)
                raise
            finally:
                await self._clear_away(trial)
            self._unpacked[sha256] = unpacked
        return self._unpacked[sha256]

    async def _make_opt(self, sha256: str, runtime: str, zips: list[Path]) -> None:
        path = self._folder(sha256, runtime)
        if not await self._look(path.is_dir):
            await self._build_as(path, runtime, zips, is_opt=True)

    async def _make(self, sha256: str, runtime: str) -> None:
        if not await self._look(self._folder(sha256, runtime).is_dir):
            await self._build_anew(sha256, runtime)

    async def _build_anew(self, sha256: str, runtime: str) -> None:
        path = self._folder(sha256, runtime)
        self._unpacked[sha256] = await self._build_as(
            path, runtime, [self._zip(sha256)]
        )

    async def _build_as(
        self, path: Path, runtime: str, zips: list[Path], *, is_opt: bool = False
    ) -> Unpacked:
        """Build into a folder of its own, which then takes the place, if it is free."""
        new = packages.temporary_beside(path)
        try:
            return await self._build_in(new, runtime, zips, path=path, is_opt=is_opt)
        except BaseException:
            await self._clear_away(new)
            raise

    async def _build_in(
        self,
        new: Path,
        runtime: str,
        zips: list[Path],
        *,
        path: Path | None = None,
        is_opt: bool,
    ) -> Unpacked:
        """Build into the folder `new`, and publish it as `path` where that is given."""
        async with self._room:
            with ExitStack() as opened:

                async def own(work: Callable[[], int]) -> int:
                    descriptor = await self._run(work)
                    opened.callback(os.close, descriptor)
                    return descriptor

                given = [await own(partial(_open, zip_)) for zip_ in zips]
                folder = await own(partial(packages.make_folder, new))
                try:
                    with self._disk.looked_after():
                        unpacked = await self._build(
                            runtime, given, folder, is_opt=is_opt
                        )
                except InvalidParameter:
                    await self._run(partial(_check_whole, zips))
                    raise
                if path is not None:
                    await self._run(lambda: packages.publish(folder, new, path))
                self._disk.is_there()
        return unpacked

    def trouble(self) -> str:
        """Why nothing can be started from here; empty where it can."""
        return self._place.trouble() if self._place is not None else ""

    def _check_place(self) -> None:
        if self._place is not None:
            self._place.check()

    async def _clear_away(self, path: Path) -> None:
        # What is left in spite of this goes at the next start.
        with suppress(SandlotError):
            await self._run(lambda: packages.remove(path))

    async def _discard(self, sha256: str) -> None:
        self._unpacked.pop(sha256, None)
        self._made_of_images.pop(sha256, None)
        await self._run(lambda: _remove(self._root, lambda found: found == sha256))

    def _zip(self, sha256: str) -> Path:
        return self._root / f"{sha256}.zip"

    def _archive(self, sha256: str) -> Path:
        return self._root / f"{sha256}.tar"

    def _folder(self, sha256: str, runtime: str) -> Path:
        return self._root / f"{sha256}-{runtime}"

    async def _alone(self, sha256: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work`, to its end, while nobody else works on the same package."""
        self._check_place()
        return await self._turns.whole(sha256, work)

    async def _look(self, work: Callable[[], T]) -> T:
        """What takes no time."""
        return await self._in_thread(self._looking, work)

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._in_thread(self._threads, work)

    async def _in_thread(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, work)
        except OSError as error:
            if room.is_full(error):
                raise self._disk.is_full() from error
            self._check_place()
            raise Internal(
                f"The code store failed ({error.strerror}). Look for a disk that fails "
                "under the data directory."
            ) from error


def _code(
    sha256: str, size: int, unpacked: Unpacked, image: Image | None = None
) -> Code:
    return Code(
        sha256=sha256,
        size=size,
        unpacked_size=unpacked.size,
        entries=unpacked.entries,
        image=image,
    )


def _open(zip_: Path) -> int:
    try:
        return packages.open_file(zip_)
    except FileNotFoundError as error:
        if not zip_.parent.is_dir():
            raise
        raise Internal(
            f"The package {zip_.stem} is gone from the engine's code store. "
            + _MEND.format(zip_=zip_)
        ) from error


def _check_whole(zips: Sequence[Path]) -> None:
    """Of what could not be built: whether it was the tenant's, as it came. A zip is
    called by its hash. Raises `Internal` where a disk has changed it."""
    for path in zips:
        if packages.hash_of(path) != path.stem:
            raise Internal(
                f"The package {path.stem} is damaged in the engine's code store. "
                + _MEND.format(zip_=path)
            )


def _make_root(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_FOLDER)
    for path in root.glob(f"{packages.TEMPORARY}*"):
        _remove_or_tell(path)


def _remove(root: Path, is_doomed: Callable[[str], bool]) -> None:
    """Remove the packages, as zips and as folders, of such hashes."""
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


_HASH_LENGTH = 64

_MEND = (
    "Send the code again, with UpdateFunctionCode or PublishLayerVersion; or have the "
    "operator bring code/{zip_.name} back from a backup."
)
