"""Makes the root file system of an OCI image, in a folder that is empty.

In a builder's jail. Twice through all layers: first each digest is checked and the tree
settled, then what is left of them is written, each file once, relative to descriptors
of folders that were made a moment ago, and followed nowhere. Owners, times, file rights
and set-user-id are not kept: everybody may read what an image has, nobody may write.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass

from sandlot_sandbox.guest import image_layout
from sandlot_sandbox.guest.image_layout import (
    GZIP,
    INDEX,
    MAX_DOCUMENT,
    BadImage,
    Image,
    Layer,
)
from sandlot_sandbox.guest.image_run import ROOT, SETTINGS
from sandlot_sandbox.guest.image_tree import File, Folder, Symlink, Tree
from sandlot_sandbox.guest.tar import FILE, BadTar, Tar
from sandlot_sandbox.guest.unpacking import Walk, new_file, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNPACKED = 2_000_000_000
"""Bytes of all layers, unpacked, hidden files included."""

MAX_NAMES = 10_000
"""Of one file; file systems have limits of their own, ext4 65,000."""

MAX_ARCHIVED = 20_000
"""Files in an archive with an image."""

_PACKED = {
    b"\x1f\x8b": "gzip: gunzip it",
    b"\x28\xb5\x2f\xfd": "zstd: unzstd it",
    b"\xfd7zXZ": "xz: unxz it",
    b"BZh": "bzip2: bunzip2 it",
}
"""How an archive begins that is packed as a whole, and what to do: the parts of an
image are found by their places in it."""

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Made:
    """What came of an image."""

    sha256: str
    """Of its manifest."""

    entries: int
    size: int
    """Bytes of all layers, unpacked."""


def make_root(archive: int, tag: str, folder: int) -> Made:
    """Read an image out of an OCI archive, and make its files below `folder`.

    Both are descriptors. Raises `BadImage`, and leaves what it has made so far;
    `OSError` where the disk fails.
    """
    try:
        places = _places(archive)
        image = _found(archive, places, tag)
        blobs = [_blob_at(places, layer.blob.path) for layer in image.layers]
        layers = list(zip(image.layers, blobs))
        tree, size = _settled(archive, layers)
        return Made(
            image.manifest.sha256, _write(archive, image, layers, tree, folder), size
        )
    except BadTar as error:
        raise BadImage(f"it is no archive, or a layer is none: {error}") from error


def _places(archive: int) -> dict[str, tuple[int, int]]:
    """Where the files of the archive are in it, and their sizes. Their content is not
    looked at; the end of the file is not believed to be that of the archive."""
    beginning = os.pread(archive, 8, 0)
    for magic, how in _PACKED.items():
        if beginning.startswith(magic):
            raise BadImage(f"the archive is packed with {how}")
    source = _Seeking(archive)
    places = {}
    for member in Tar(source.read).members():
        if member.kind == FILE:
            places[member.name.removeprefix("./")] = member.at, member.size
            source.skip_from(member.at, member.size)
        if len(places) > MAX_ARCHIVED:
            raise BadImage(f"the archive has more than {MAX_ARCHIVED} files")
    if INDEX not in places:
        raise BadImage(
            f"the archive has no {INDEX}, so it is no OCI archive. Make one: skopeo "
            "copy docker-archive:FILE oci-archive:FILE"
        )
    return places


class _Seeking:
    """A file that is read in order. What the reader of archives passes over it gets as
    zeros, which it does not look at: the content of files is not read for that."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0
        self._passed = 0
        self._end = os.fstat(descriptor).st_size

    def skip_from(self, at: int, size: int) -> None:
        """The next bytes of that number are content."""
        if at + size > self._end:
            raise BadImage("the archive ends in the middle of a file")
        self._passed = size

    def read(self, size: int) -> bytes:
        if self._passed:
            # Content first, then padding, as in the archive.
            size_of_content = min(size, self._passed)
            self._passed -= size_of_content
            rest = size - size_of_content
            self._at += size_of_content
            return bytes(size_of_content) + (self._pread(rest) if rest else b"")
        return self._pread(size)

    def _pread(self, size: int) -> bytes:
        data = _read_at(self._descriptor, size, self._at)
        self._at += len(data)
        return data


def _found(archive: int, places: dict[str, tuple[int, int]], tag: str) -> Image:
    def read(path: str) -> bytes:
        at, size = _blob_at(places, path)
        return _read_at(archive, min(size, MAX_DOCUMENT + 1), at)

    return image_layout.find(
        read(INDEX), tag, read, architecture=image_layout.machine()
    )


def _blob_at(places: dict[str, tuple[int, int]], path: str) -> tuple[int, int]:
    try:
        return places[path]
    except KeyError:
        raise BadImage(f"it has no {path}") from None


def _settled(
    archive: int, layers: list[tuple[Layer, tuple[int, int]]]
) -> tuple[Tree, int]:
    """The tree, once all digests are right; and the bytes of all layers."""
    tree, size = Tree(), 0
    for layer, place in layers:
        stream = _Stream(archive, layer, place, most=MAX_UNPACKED - size)
        tree.add(Tar(stream.read).members())
        stream.check()
        size += stream.size
    tree.settle()
    return tree, size


def _write(
    archive: int,
    image: Image,
    layers: list[tuple[Layer, tuple[int, int]]],
    tree: Tree,
    folder: int,
) -> int:
    """How many files and folders there are now."""
    os.mkdir(ROOT, 0o755, dir_fd=folder)
    root = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        entries = _write_tree(archive, layers, tree, root)
        os.fchmod(root, 0o755)
    finally:
        os.close(root)
    with new_file(SETTINGS, folder) as file:
        write_all(file, json.dumps(image.settings).encode())
    return entries


def _write_tree(
    archive: int,
    layers: list[tuple[Layer, tuple[int, int]]],
    tree: Tree,
    root: int,
) -> int:
    entries = 0
    names: dict[File, list[tuple[str, ...]]] = {}
    with Walk(root) as walk:
        for path, node in tree.walk():
            entries += 1
            if isinstance(node, Folder):
                walk.enter(list(path))
            elif isinstance(node, Symlink):
                os.symlink(node.target, path[-1], dir_fd=walk.enter(list(path[:-1])))
            else:
                names.setdefault(node, []).append(path)
    by_place = {(file.layer, file.number): names[file] for file in names}
    with Walk(root) as walk, Walk(root) as other:
        for (origin, _), paths in by_place.items():
            if origin < 0:
                _write_file(paths, walk, other, lambda _: None)
        for number, (layer, place) in enumerate(layers):
            stream = _Stream(archive, layer, place, most=MAX_UNPACKED)
            reader = Tar(stream.read)
            for member_number, member in enumerate(reader.members()):
                paths = by_place.get((number, member_number), [])
                if not paths:
                    continue

                def fill(descriptor: int) -> None:
                    for chunk in reader.content(member):  # noqa: B023 - called at once
                        write_all(descriptor, chunk)

                _write_file(paths, walk, other, fill, is_program=member.is_executable)
    return entries


def _write_file(
    paths: list[tuple[str, ...]],
    walk: Walk,
    other: Walk,
    fill: Callable[[int], None],
    *,
    is_program: bool = False,
) -> None:
    """Under its first name, and the others as links to that. Raises `BadImage`."""
    (*folders, name), *more = paths
    if len(paths) > MAX_NAMES:
        shown = "/".join(paths[0])[:200]
        raise BadImage(f"{shown!r} has {len(paths)} names of {MAX_NAMES} allowed")
    source = walk.enter(folders)
    with new_file(name, source, is_program=is_program) as descriptor:
        fill(descriptor)
    for *folders, link in more:
        os.link(
            name,
            link,
            src_dir_fd=source,
            dst_dir_fd=other.enter(folders),
            follow_symlinks=False,
        )


class _Stream:
    """A layer's tar, unpacked as it is read. `check` reads the rest of it."""

    def __init__(
        self, archive: int, layer: Layer, place: tuple[int, int], *, most: int
    ) -> None:
        self._archive = archive
        self._layer = layer
        self._at, self._left = place
        if self._left != layer.blob.size:
            raise BadImage(f"{layer.blob.path} is not of the size it is said to be of")
        self._most = most
        self._packed = hashlib.sha256()
        self._unpacked = hashlib.sha256()
        self._inflater = zlib.decompressobj(wbits=31) if layer.packing == GZIP else None
        self._input = b""
        self._output = bytearray()
        self.size = 0
        """Bytes so far, unpacked."""

    def read(self, size: int) -> bytes:
        while len(self._output) < size:
            chunk = self._next()
            if not chunk:
                break
            self.size += len(chunk)
            if self.size > self._most:
                raise BadImage(
                    f"its layers have more than {MAX_UNPACKED} bytes, unpacked"
                )
            self._unpacked.update(chunk)
            self._output += chunk
        data = bytes(self._output[:size])
        del self._output[:size]
        return data

    def check(self) -> None:
        """Raises `BadImage` unless all of it is what its digests say."""
        while self.read(_CHUNK):
            pass
        if self._packed.hexdigest() != self._layer.blob.sha256:
            raise BadImage(f"{self._layer.blob.path} is not what its digest says")
        if self._unpacked.hexdigest() != self._layer.diff_id:
            raise BadImage(f"{self._layer.blob.path} is not what its diff_id says")

    def _next(self) -> bytes:
        """At most a chunk; nothing at the end alone."""
        if self._inflater is None:
            return self._more()
        while True:
            if not self._input:
                self._input = self._more()
            is_last = not self._input
            if self._inflater.eof:
                if is_last:
                    return b""
                # One after another, as parallel packers write them.
                self._inflater = zlib.decompressobj(wbits=31)
            try:
                chunk = self._inflater.decompress(self._input, _CHUNK)
            except zlib.error:
                path = self._layer.blob.path
                raise BadImage(f"{path} is not packed with gzip") from None
            self._input = self._inflater.unconsumed_tail or self._inflater.unused_data
            if chunk:
                return chunk
            if is_last and not self._inflater.eof:
                raise BadImage(f"{self._layer.blob.path} breaks off")

    def _more(self) -> bytes:
        data = _read_at(self._archive, min(self._left, _CHUNK), self._at)
        self._at += len(data)
        self._left -= len(data)
        self._packed.update(data)
        return data


def _read_at(descriptor: int, size: int, at: int) -> bytes:
    """All of it, or up to the end of the file."""
    parts = []
    while size and (data := os.pread(descriptor, size, at)):
        parts.append(data)
        at += len(data)
        size -= len(data)
    return b"".join(parts)
