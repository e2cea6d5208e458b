"""Container images on this machine, as the catalog asks for them: `code.Images`.

Only folders that the operator has named are looked into, and no link in them is
followed. A tenant who names anything else learns nothing: what is elsewhere, what is
not there and what we may not read are refused in the same words. Of a layout the engine
reads the documents that say which parts belong to the image, and copies those; an
archive it copies as it is. All else is a builder's.
"""

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.function import Unpacked
from sandlot_engine.node.builder import making, refused, unpacked_of
from sandlot_engine.node.launchers import Launchers
from sandlot_sandbox.guest import image_layout
from sandlot_sandbox.guest.image_layout import INDEX, MAX_DOCUMENT, BadImage
from sandlot_sandbox.host import builder

MAX_PACKED = 2_000_000_000
"""Bytes of an image's parts, as they are packed; of an archive."""

LAYOUT, ARCHIVE = "oci", "oci-archive"
_OTHERS = {
    "docker-archive": "FILE",
    "docker-daemon": "IMAGE",
    "containers-storage": "IMAGE",
    "dir": "DIR",
}
"""Where images may be besides, as skopeo names it, and of what."""

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not waiting for whoever would write to a pipe.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20


class Images:
    """The images below some folders, which have to be there."""

    def __init__(self, launchers: Launchers, roots: Iterable[str]) -> None:
        self._launchers = launchers
        self._roots = [Path(root).resolve() for root in roots]

    def pack(self, uri: str, into: int) -> str:
        """Write an image as an archive; the tag that it has in there, empty where it is
        alone. Raises `InvalidParameter`, and `OSError` where the disk fails."""
        kind, path, tag = parse(uri)
        if not self._roots:
            raise InvalidParameter(
                "The operator has opened no folder with images on this machine: "
                "sandlot up --image-dir DIR",
                field="image_uri",
            )
        try:
            with ExitStack() as opened:
                is_archive = kind == ARCHIVE
                found = self._opened(uri, path, _FILE if is_archive else _FOLDER)
                opened.callback(os.close, found)
                if is_archive:
                    _copy(found, into)
                    return tag
                _pack_layout(found, tag, into)
        except BadImage as bad:
            raise unusable(uri, str(bad)) from bad
        return ""

    async def build(self, archive: int, tag: str, folder: int) -> tuple[Unpacked, str]:
        """Have an archive's image made into a root file system; that, of all its
        layers, and the SHA-256 of its manifest. Raises as `build_package`."""
        launcher = await self._launchers.current()
        with making():
            try:
                built = await builder.build_image(launcher, archive, tag, folder)
            except builder.Refused as error:
                raise refused(
                    error, "image_uri", "The image cannot be used: "
                ) from error
        return unpacked_of(built), built.manifest

    def _opened(self, uri: str, path: str, flags: int) -> int:
        """Raises `InvalidParameter`, in one form whatever is in the way."""
        is_right = stat.S_ISDIR if flags & os.O_DIRECTORY else stat.S_ISREG
        for root in self._roots:
            opened = _walk(root, _below(root, path), flags)
            if opened is None:
                continue
            if is_right(os.fstat(opened).st_mode):
                return opened
            os.close(opened)
        raise InvalidParameter(
            f"There is no image {uri[:200]!r} in the folders that the operator has "
            "opened for images.",
            field="image_uri",
        )


def parse(uri: str) -> tuple[str, str, str]:
    """Kind, path and tag. Raises `InvalidParameter` for what is not on this machine."""
    kind, colon, rest = uri.partition(":")
    path, _, tag = rest.partition(":")
    if kind not in (LAYOUT, ARCHIVE) or not colon or not path or "\0" in uri:
        source = f"{kind}:{_OTHERS[kind]}" if kind in _OTHERS else "docker://IMAGE"
        raise InvalidParameter(
            f"ImageUri {uri[:200]!r} names no image on this machine. Nothing is pulled "
            "from registries: copy it below the operator's image folder, with skopeo "
            f"copy {source} oci:DIR/NAME:TAG, and say oci:NAME:TAG or "
            "oci-archive:FILE:TAG.",
            field="image_uri",
        )
    return kind, path, tag


def unusable(uri: str, why: str) -> InvalidParameter:
    return InvalidParameter(
        f"The image {uri[:200]!r} cannot be used: {why}.", field="image_uri"
    )


def _below(root: Path, path: str) -> list[str] | None:
    """The components of a path from `root` on; None where it is not below."""
    parts = path.split("/")
    if parts[0] == "" and len(parts) > 1:
        of_root = [part for part in str(root).split("/") if part]
        parts = [part for part in parts if part]
        if parts[: len(of_root)] != of_root:
            return None
        parts = parts[len(of_root) :]
    if not parts or any(part in ("", ".", "..") for part in parts):
        return None
    return parts


def _walk(root: Path, parts: list[str] | None, flags: int) -> int | None:
    """What is there, opened, by no link; None where that cannot be."""
    if parts is None:
        return None
    *folders, last = parts
    try:
        with ExitStack() as opened:
            here = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, here)
            for name in folders:
                here = os.open(name, _FOLDER, dir_fd=here)
                opened.callback(os.close, here)
            return os.open(last, flags, dir_fd=here)
    except (OSError, ValueError):
        return None


def _pack_layout(folder: int, tag: str, into: int) -> None:
    """The image alone, in the same bytes whenever it is the same."""

    def read(path: str) -> bytes:
        with _part(folder, path) as file:
            return file.read(MAX_DOCUMENT + 1)

    image = image_layout.find(
        read(INDEX), tag, read, architecture=image_layout.machine()
    )
    if sum(blob.size for blob in image.blobs) > MAX_PACKED:
        raise BadImage(f"its parts have more than {MAX_PACKED} bytes")
    index = image_layout.index_of(image)
    with (
        os.fdopen(os.dup(into), "wb") as out,
        tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        archive.addfile(_info(INDEX, len(index)), io.BytesIO(index))
        for blob in {blob.sha256: blob for blob in image.blobs}.values():
            with _part(folder, blob.path) as file:
                if os.fstat(file.fileno()).st_size != blob.size:
                    raise BadImage(f"{blob.path} is not of the size it is said to be")
                archive.addfile(_info(blob.path, blob.size), file)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _part(folder: int, path: str) -> io.BufferedReader:
    *folders, name = path.split("/")
    try:
        with ExitStack() as opened:
            for each in folders:
                folder = os.open(each, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            file = os.open(name, _FILE, dir_fd=folder)
    except OSError:
        # Not which: that something is there is nobody's business. What umoci makes
        # is for its owner alone.
        raise BadImage(
            f"it has no {path} that the engine could read: chmod -R a+rX the folder, "
            "if it is there"
        ) from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise BadImage(f"its {path} is no file")
    return os.fdopen(file, "rb")


def _copy(file: int, into: int) -> None:
    if os.fstat(file).st_size > MAX_PACKED:
        raise BadImage(f"the archive has more than {MAX_PACKED} bytes")
    left = MAX_PACKED
    while left and (data := os.read(file, min(left, _CHUNK))):
        left -= len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(into, rest) :]
