"""Makes the files of packages, in a folder that is empty.

Everything is created relative to descriptors of folders, is never followed and never
opened twice, so that no path can lead outside, whatever a zip says. Of several zips it
is settled first which of them each file comes from: nothing that was written is ever
replaced.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from sandlot_sandbox.guest import archive
from sandlot_sandbox.guest.archive import BadArchive, Entry, inflated, read_entries

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator, Sequence
    from typing import Union

    Zip = Union[bytes, mmap.mmap]
    """In the builder it is mapped: it may be as large as what its jail may have."""

MAX_UNZIPPED = 262_144_000
"""Bytes of all files (AWS: 250 MB)."""

MAX_ZIPPED = MAX_UNZIPPED
"""Bytes of a zip. No honest one has more than its files; how much of it may be sent,
the engine knows."""

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER, _FILE, _PROGRAM = 0o755, 0o644, 0o755

_BROKEN = (
    "Could not unzip uploaded file. Please check your file, then try to upload again."
)


class Refused(Exception):
    """In AWS's words, followed by the precise reason."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large
        """Whether it is the zip itself that has too many bytes."""


def unpack(packages: Sequence[Zip], root: int) -> tuple[list[Entry], int]:
    """Unpack zips in their order below the folder `root`: what there is now, and the
    bytes of all files. Where two have the same file, the later one's is there.

    Raises `Refused`, and leaves what it has made so far; `OSError` where the disk
    fails.
    """
    try:
        merged = _merged([_read(package) for package in packages])
        views = [memoryview(package) for package in packages]
        size = _write([(views[number], entry) for number, entry in merged], root)
        return [entry for _, entry in merged], size
    except BadArchive as error:
        raise Refused(f"{_BROKEN} {error}") from error


def _read(zip_bytes: Zip) -> list[Entry]:
    if len(zip_bytes) > MAX_ZIPPED:
        raise Refused(
            f"Zipped size must be smaller than {MAX_ZIPPED} bytes.", too_large=True
        )
    entries = read_entries(memoryview(zip_bytes))
    if all(entry.is_folder for entry in entries):
        raise Refused("Uploaded file must be a non-empty zip")
    return entries


def _merged(packages: list[list[Entry]]) -> list[tuple[int, Entry]]:
    """What is there once all are unpacked, and which of them it is from.

    Raises `Refused` or `BadArchive` for more than one package may have; what is hidden
    counts as well.
    """
    merged: list[tuple[int, Entry]] = []
    names = 0
    for number, entries in enumerate(packages):
        cover = _Cover(entries)
        names += cover.names
        merged = [found for found in merged if not cover.hides(found[1])]
        merged += [(number, entry) for entry in entries]
    if names > archive.MAX_ENTRIES:
        raise BadArchive(
            f"Together they have {names} files and folders of {archive.MAX_ENTRIES} "
            "allowed."
        )
    # What they promise, so that most are refused before anything is inflated.
    _counted(sum(entry.size for entries in packages for entry in entries))
    return merged


class _Cover:
    """A package, as it lies over those before it.

    Its folders join theirs. Its files hide what they have at the same path, be it a
    folder with all that is in it, and its folders hide their files. So nothing has two
    kinds, and nothing is left that somebody would have to remove.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._files = {entry.path for entry in entries if not entry.is_folder}
        self._folders = {entry.path for entry in entries if entry.is_folder}
        for entry in entries:
            self._folders.update(_parents(entry.path))

    @property
    def names(self) -> int:
        return len(self._files) + len(self._folders)

    def hides(self, entry: Entry) -> bool:
        path = entry.path
        return (
            path in self._files
            # As a folder it is there already; as a file it gives way to one.
            or path in self._folders
            or any(parent in self._files for parent in _parents(path))
            # Or an older module would be run in place of the one that is to be seen.
            or _source_of(path) in self._files
        )


def _parents(path: str) -> Iterator[str]:
    """The folders that a path leads through, the innermost first."""
    while path := path.rpartition("/")[0]:
        yield path


def _source_of(path: str) -> str:
    """The module that a file is the bytecode of, if it is of one."""
    *folders, name = path.split("/")
    if folders[-1:] != ["__pycache__"]:
        return ""
    return "/".join((*folders[:-1], f"{name.partition('.')[0]}.py"))


def _write(files: list[tuple[memoryview, Entry]], root: int) -> int:
    total = 0
    with Walk(root) as walk:
        # By components, so that the walk enters each folder once.
        for view, entry in sorted(files, key=lambda file: file[1].path.split("/")):
            *folders, name = entry.path.split("/")
            if entry.is_folder:
                walk.enter([*folders, name])
                continue
            folder = walk.enter(folders)
            with new_file(name, folder, is_program=entry.is_executable) as descriptor:
                for chunk in inflated(view, entry):
                    total = _counted(total + len(chunk))
                    write_all(descriptor, chunk)
    return total


def _counted(total: int) -> int:
    if total > MAX_UNZIPPED:
        raise Refused(
            f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes; this package "
            f"has {total} or more. Leave out what the function does not need."
        )
    return total


class Walk:
    """Descriptors of the folders on the path to where we are, root first."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: list[tuple[str, int]] = []

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave_to(0)

    def enter(self, folders: list[str]) -> int:
        """Make and open the folder; its descriptor stays ours."""
        shared = takewhile(lambda pair: pair[0][0] == pair[1], zip(self._open, folders))
        self._leave_to(sum(1 for _ in shared))
        for name in folders[len(self._open) :]:
            self._descend(name)
        return self._here

    @property
    def _here(self) -> int:
        return self._open[-1][1] if self._open else self._root

    def _descend(self, name: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self._here)
        descriptor = os.open(name, OPEN_FOLDER, dir_fd=self._here)
        self._open.append((name, descriptor))
        os.fchmod(descriptor, _FOLDER)

    def _leave_to(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])


@contextmanager
def new_file(name: str, folder: int, *, is_program: bool = False) -> Iterator[int]:
    """A file that was not there, open for writing, and closed in the end."""
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        yield descriptor
        # Against any umask, and never more than these: no setuid, no sticky bit.
        os.fchmod(descriptor, _PROGRAM if is_program else _FILE)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, chunk: bytes) -> None:
    """All of it, however much the kernel takes at a time."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
