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

Here is which package is worked on, and when; the folder that all are in is
`shelf.py`, and what builders do there is `building.py`.
"""

import hashlib
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sandlot_engine.catalog import packages
from sandlot_engine.catalog.building import Builders
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.ports import Build, Images
from sandlot_engine.catalog.shelf import Shelf
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.errors import InvalidParameter, NotFound
from sandlot_engine.model.function import (
    IMAGE,
    Code,
    FunctionConfig,
    Image,
    ImageSource,
    Unpacked,
)

T = TypeVar("T")


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
        self._shelf = Shelf(root)
        self._builders = Builders(self._shelf, build, images)
        self._images = images
        self._made_of_images: dict[str, tuple[Unpacked, str]] = {}
        """By hash, of those here and built by us; and the image's digest."""

        self._keeper = Keeper()
        self._turns = Turns(self._keeper)
        """By package."""

        self._unpacked: dict[str, Unpacked] = {}
        """By hash, of packages that are here and were built by us."""

    async def __aenter__(self) -> Self:
        await self._shelf.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._keeper.__aexit__(kind, error, traceback)
        await self._shelf.close()

    async def hash(self, zip_bytes: bytes) -> str:
        """The SHA-256 under which `put` would store a package."""
        return await self._shelf.run(lambda: hashlib.sha256(zip_bytes).hexdigest())

    async def put(self, zip_bytes: bytes, runtime: str) -> Code:
        """Keep a package, built for a runtime. Keeping one again changes nothing.

        Raises `TooLarge`, or what `Build` raises; a package that was refused leaves
        nothing behind.
        """
        packages.check_size(len(zip_bytes))
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
        path = packages.temporary_beside(self._shelf.root / "image")

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
            yield await self._shelf.run(copy)
        finally:
            await self._shelf.clear_away(path)

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
        packages.check_size(len(zip_bytes))
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
        zips = [self._shelf.zip(layer.code.sha256) for layer in config.layers]
        await self._alone(sha256, lambda: self._make_opt(sha256, runtime, zips))
        return self._shelf.folder(sha256, runtime)

    async def has_extensions(self, config: FunctionConfig) -> bool:
        """Whether the layers of a function, once they are built, have a folder of
        Lambda extensions that is not empty."""
        if not config.layers:
            return False
        folder = self._shelf.folder(config.opt_sha256, config.runtime) / "extensions"
        return await self._shelf.look(lambda: packages.has_entries(folder))

    async def unpacked(self, code: Code, runtime: str) -> Path:
        """The folder with the package's files and their bytecode, built if it is not.

        Raises `Internal` where the package is gone or the disk fails, and what
        `Build` raises.
        """
        folder = self._shelf.folder(code.sha256, runtime)
        if (image := code.image) is not None:
            await self._alone(
                code.sha256, lambda: self._make_image(code.sha256, image.tag)
            )
            return folder
        await self._alone(code.sha256, lambda: self._make(code.sha256, runtime))
        return folder

    async def size_of(self, sha256: str) -> int:
        """A package's, by its hash. Raises `NotFound` where it is gone."""
        path = self._shelf.zip(sha256)
        if not await self._shelf.look(path.is_file):
            self._shelf.check_place()
            raise NotFound(f"There is no package {sha256} any more.")
        return await self._shelf.look(lambda: path.stat().st_size)

    async def pieces_of(self, sha256: str) -> AsyncGenerator[bytes, None]:
        """The same package, in its order. Raises `NotFound` where it goes meanwhile.

        Between two pieces nothing is open: thousands may read at a time and take as
        long as they like, or go while a thread reads.
        """
        path, at = self._shelf.zip(sha256), 0
        while piece := await self._shelf.run(partial(packages.read_piece, path, at)):
            yield piece
            at += len(piece)

    async def discard(self, sha256: str) -> None:
        """Remove a package, or merged layers, whether they are there or not.

        Only for what nobody refers to: an instance may have it mounted.
        """
        await self._alone(sha256, lambda: self._discard(sha256))

    async def keep_only(self, sha256s: Collection[str]) -> None:
        """Remove all other packages and folders; for the start, before anybody adds
        one."""
        wanted = frozenset(sha256s)
        await self._shelf.remove(lambda sha256: sha256 not in wanted)

    def trouble(self) -> str:
        """Why nothing can be started from here; empty where it can."""
        return self._shelf.trouble()

    # --- one package, while nobody else works on it -----------------------------

    async def _put(self, sha256: str, zip_bytes: bytes, runtime: str) -> Unpacked:
        path = self._shelf.zip(sha256)
        is_new = await self._shelf.run(lambda: packages.write_file(path, zip_bytes))
        try:
            if sha256 in self._unpacked:
                await self._make(sha256, runtime)
            else:
                # Also where an engine before this one did: only a builder can tell.
                await self._build_anew(sha256, runtime)
        except BaseException:
            if is_new:
                await self._shelf.clear_away(path)
            raise
        return self._unpacked[sha256]

    async def _put_image(self, staged: Staged) -> tuple[Unpacked, str]:
        path = self._shelf.archive(staged.sha256)
        is_new = await self._shelf.run(lambda: packages.take_name(staged.path, path))
        try:
            if staged.sha256 in self._made_of_images:
                await self._make_image(staged.sha256, staged.tag)
            else:
                await self._build_image(staged.sha256, staged.tag)
        except BaseException:
            if is_new:
                await self._shelf.clear_away(path)
            raise
        return self._made_of_images[staged.sha256]

    async def _make_image(self, sha256: str, tag: str) -> None:
        if not await self._shelf.look(self._shelf.folder(sha256, IMAGE).is_dir):
            await self._build_image(sha256, tag)

    async def _build_image(self, sha256: str, tag: str) -> None:
        self._made_of_images[sha256] = await self._builders.build_image(
            self._shelf.folder(sha256, IMAGE), self._shelf.archive(sha256), tag
        )

    async def _put_layer(self, sha256: str, zip_bytes: bytes, runtime: str) -> Unpacked:
        path = self._shelf.zip(sha256)
        is_new = await self._shelf.run(lambda: packages.write_file(path, zip_bytes))
        if sha256 not in self._unpacked:
            # Only a builder can tell. What it makes is of no use: functions have
            # layers merged, and bytecode that knows where it is.
            try:
                self._unpacked[sha256] = await self._builders.try_layer(path, runtime)
            except BaseException:
                if is_new:
                    await self._shelf.clear_away(path)
                raise
        return self._unpacked[sha256]

    async def _make_opt(self, sha256: str, runtime: str, zips: list[Path]) -> None:
        path = self._shelf.folder(sha256, runtime)
        if not await self._shelf.look(path.is_dir):
            await self._builders.build(path, runtime, zips, is_opt=True)

    async def _make(self, sha256: str, runtime: str) -> None:
        if not await self._shelf.look(self._shelf.folder(sha256, runtime).is_dir):
            await self._build_anew(sha256, runtime)

    async def _build_anew(self, sha256: str, runtime: str) -> None:
        path = self._shelf.folder(sha256, runtime)
        self._unpacked[sha256] = await self._builders.build(
            path, runtime, [self._shelf.zip(sha256)]
        )

    async def _discard(self, sha256: str) -> None:
        self._unpacked.pop(sha256, None)
        self._made_of_images.pop(sha256, None)
        await self._shelf.remove(lambda found: found == sha256)

    async def _alone(self, sha256: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work`, to its end, while nobody else works on the same package."""
        self._shelf.check_place()
        return await self._turns.whole(sha256, work)


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
