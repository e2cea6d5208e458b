"""What builders are given, and what becomes of what they made.

A builder works in a folder that has no name yet, and that nobody else may enter. Once
it is done the folder is given its name, whole and on disk; or it is cleared away.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from sandlot_engine.catalog import packages
from sandlot_engine.catalog.ports import Build, Images
from sandlot_engine.catalog.shelf import Shelf
from sandlot_engine.errors import Internal, InvalidParameter
from sandlot_engine.model.function import Unpacked

BUILDS = 2
"""Packages that are unpacked and compiled at once; the others wait."""


class Builders:
    """Some work at once. What one made is on the shelf afterwards; or there is nothing
    of it, and this raises as `Build` and the shelf do."""

    def __init__(self, shelf: Shelf, build: Build, images: Images | None) -> None:
        self._shelf = shelf
        self._build = build
        self._images = images
        self._room = asyncio.Semaphore(BUILDS)

    async def build(
        self, path: Path, runtime: str, zips: list[Path], *, is_opt: bool = False
    ) -> Unpacked:
        """Build into a folder of its own, which then takes the place `path`, if it is
        free."""
        new = packages.temporary_beside(path)
        try:
            return await self._build_in(new, runtime, zips, path=path, is_opt=is_opt)
        except BaseException:
            await self._shelf.clear_away(new)
            raise

    async def try_layer(self, zip_: Path, runtime: str) -> Unpacked:
        """Build a layer, for what it comes to: what was made is cleared away."""
        new = packages.temporary_beside(zip_)
        try:
            return await self._build_in(new, runtime, [zip_], is_opt=True)
        finally:
            await self._shelf.clear_away(new)

    async def build_image(
        self, path: Path, archive: Path, tag: str
    ) -> tuple[Unpacked, str]:
        """Build an archive's image likewise; also the SHA-256 of its manifest."""
        images = self._images
        if images is None:
            raise Internal("There is nothing that would build an image.")
        new = packages.temporary_beside(path)
        try:
            async with self._room:
                with ExitStack() as opened:
                    given = await self._shelf.run(lambda: packages.open_file(archive))
                    opened.callback(os.close, given)
                    folder = await self._shelf.run(lambda: packages.make_folder(new))
                    opened.callback(os.close, folder)
                    with self._shelf.disk.looked_after():
                        made = await images.build(given, tag, folder)
                    await self._shelf.run(lambda: packages.publish(folder, new, path))
                    self._shelf.disk.is_there()
        except BaseException:
            await self._shelf.clear_away(new)
            raise
        return made

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
                    descriptor = await self._shelf.run(work)
                    opened.callback(os.close, descriptor)
                    return descriptor

                given = [await own(partial(_open, zip_)) for zip_ in zips]
                folder = await own(partial(packages.make_folder, new))
                try:
                    with self._shelf.disk.looked_after():
                        unpacked = await self._build(
                            runtime, given, folder, is_opt=is_opt
                        )
                except InvalidParameter:
                    await self._shelf.run(partial(_check_whole, zips))
                    raise
                if path is not None:
                    await self._shelf.run(lambda: packages.publish(folder, new, path))
                self._shelf.disk.is_there()
        return unpacked


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


_MEND = (
    "Send the code again, with UpdateFunctionCode or PublishLayerVersion; or have the "
    "operator bring code/{zip_.name} back from a backup."
)
