"""Packages: is this zip one that we unpack, and unpacking it.

Both read the archive through `archive.py`, and unpacking checks again everything
that checking did: a file may have changed on disk in between.
"""

import ctypes
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from sandlot_engine.catalog.archive import BadArchive, Entry, inflated, read_entries
from sandlot_engine.errors import InvalidParameter, TooLarge

MAX_ZIPPED = 52_428_800
"""Bytes of a zip (AWS: 50 MB)."""

MAX_UNZIPPED = 262_144_000
"""Bytes of all its files (AWS: 250 MB)."""

TEMPORARY = ".new-"
"""How the names of half-made files and folders begin."""

_BROKEN = (
    "Could not unzip uploaded file. Please check your file, then try to upload again."
)
_FOLDER, _FILE, _PROGRAM = 0o755, 0o644, 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What is known of a zip that passed."""

    sha256: str
    """Lower-case hex."""

    size: int
    """Bytes of the zip."""

    unpacked_size: int
    """Bytes of all its files."""

    entries: int
    """Files and folders."""


def check(zip_bytes: bytes) -> PackageFacts:
    """Read a package to its last byte. Slow for big ones: not for an event loop.

    Raises `TooLarge` over `MAX_ZIPPED`, `InvalidParameter` for everything else, in
    AWS's words followed by the precise reason.
    """
    entries = _read(zip_bytes)
    view = memoryview(zip_bytes)
    total = 0
    with _in_aws_words():
        for entry in entries:
            for chunk in inflated(view, entry):
                total = _counted(total + len(chunk))
    return PackageFacts(
        sha256=hashlib.sha256(zip_bytes).hexdigest(),
        size=len(zip_bytes),
        unpacked_size=total,
        entries=len(entries),
    )


def unpack(package: bytes | Path, into: Path) -> None:
    """Unpack a zip so that `into` appears whole or not at all.

    Does nothing where `into` exists: it is named by the hash of its package, and
    was whole when it got that name. Raises as `check` does; raises `OSError` where
    the disk fails, and leaves nothing behind.
    """
    if into.exists():
        return
    zip_bytes = package if isinstance(package, bytes) else package.read_bytes()
    entries = _read(zip_bytes)
    new = into.with_name(f"{TEMPORARY}{into.name}-{secrets.token_hex(8)}")
    new.mkdir(mode=0o700)
    try:
        with _folder(new) as root, _in_aws_words():
            _write_entries(memoryview(zip_bytes), entries, root)
            os.fchmod(root, _FOLDER)
            sync_file_system(root)
        _rename_folder(new, into)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with _folder(path) as descriptor:
        os.fsync(descriptor)


def sync_file_system(descriptor: int) -> None:
    """Write out the file system that `descriptor` is on.

    One call, where an fsync for each of 50,000 files would take minutes.
    """
    if _syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), "syncfs failed")


def _read(zip_bytes: bytes) -> list[Entry]:
    if len(zip_bytes) > MAX_ZIPPED:
        raise TooLarge(
            f"Zipped size must be smaller than {MAX_ZIPPED} bytes; this package has "
            f"{len(zip_bytes)}. Leave out what the function does not need.",
            field="zip",
        )
    with _in_aws_words():
        entries = read_entries(memoryview(zip_bytes))
    if all(entry.is_folder for entry in entries):
        raise InvalidParameter("Uploaded file must be a non-empty zip", field="zip")
    # What it promises, so that most are refused before anything is inflated.
    _counted(sum(entry.size for entry in entries))
    return entries


def _counted(total: int) -> int:
    if total > MAX_UNZIPPED:
        raise InvalidParameter(
            f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes; this package "
            f"has {total} or more. Leave out what the function does not need.",
            field="zip",
        )
    return total


@contextmanager
def _in_aws_words() -> Iterator[None]:
    try:
        yield
    except BadArchive as error:
        raise InvalidParameter(f"{_BROKEN} {error}", field="zip") from error


def _write_entries(view: memoryview, entries: list[Entry], root: int) -> None:
    """Create everything relative to folder descriptors: no path can lead outside."""
    total = 0
    with _Walk(root) as walk:
        # By components, so that the walk enters each folder once.
        for entry in sorted(entries, key=lambda entry: entry.path.split("/")):
            *folders, name = entry.path.split("/")
            if entry.is_folder:
                walk.enter([*folders, name])
                continue
            with _new_file(name, walk.enter(folders), entry) as descriptor:
                for chunk in inflated(view, entry):
                    total = _counted(total + len(chunk))
                    _write_all(descriptor, chunk)


class _Walk:
    """Descriptors of the folders on the path to where we are, root first."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: list[tuple[str, int]] = []

    def __enter__(self) -> "_Walk":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave_to(0)

    def enter(self, folders: list[str]) -> int:
        """Make and open the folder; its descriptor stays ours."""
        shared = takewhile(
            lambda pair: pair[0][0] == pair[1],
            zip(self._open, folders, strict=False),
        )
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
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=self._here)
        self._open.append((name, descriptor))
        os.fchmod(descriptor, _FOLDER)

    def _leave_to(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])


@contextmanager
def _new_file(name: str, folder: int, entry: Entry) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as stack:
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        stack.callback(os.close, descriptor)
        yield descriptor
        # Against any umask, and never more than these: no setuid, no sticky bit.
        os.fchmod(descriptor, _PROGRAM if entry.is_executable else _FILE)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _rename_folder(new: Path, into: Path) -> None:
    try:
        new.rename(into)
    except OSError:
        # Somebody else was first, with the same content.
        if not into.is_dir():
            raise
        shutil.rmtree(new)
    sync_folder(into.parent)


_syncfs = ctypes.CDLL(None, use_errno=True).syncfs
