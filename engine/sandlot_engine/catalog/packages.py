"""Packages as the engine has them: a zip's bytes, and a folder that a builder wrote.

The engine reads neither. What is in the folder is hostile: it is published by its
name, mounted for its own tenant, and removed without following anything.
"""

import ctypes
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandlot_engine.errors import NotFound, TooLarge

MAX_SENT = 52_428_800
"""Bytes of a zip that is sent along (AWS: 50 MB)."""

MAX_ZIPPED = 262_144_000
"""Bytes of any (AWS: 250 MB unpacked, and of a zip in a bucket nothing else)."""

PIECE = 64 * 1024
"""Bytes of one that are read at a time: of whoever takes them slowly we hold three."""

TEMPORARY = ".new-"
"""How the names of half-made files and folders begin."""

_PUBLISHED = 0o755
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_sent(zip_bytes: bytes) -> bytes:
    """What was given. Raises `TooLarge`, in AWS's words followed by the numbers."""
    if len(zip_bytes) > MAX_SENT:
        raise TooLarge(
            f"Zipped size must be smaller than {MAX_SENT} bytes; this package has "
            f"{len(zip_bytes)}. Leave out what the function does not need, or have it "
            "fetched from a bucket.",
            field="zip",
        )
    return zip_bytes


def check_size(size: int, *, field: str = "zip") -> None:
    """Raises `TooLarge`."""
    if size > MAX_ZIPPED:
        raise TooLarge(
            f"Zipped size must be smaller than {MAX_ZIPPED} bytes; this package has "
            f"{size}. Leave out what the function does not need.",
            field=field,
        )


def write_file(path: Path, content: bytes) -> bool:
    """Write a file that appears whole or not at all; False where there was one. That is
    left alone, unless a disk has made something else of it."""
    was_there = path.exists()
    if was_there and _holds(path, content):
        return False
    new = temporary_beside(path)
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
    return not was_there


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """A file that was not there, to be written and read by nobody else."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def hash_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take_name(new: Path, path: Path) -> bool:
    """Call a whole file `path`; False where there is one of that name."""
    if path.exists():
        return False
    new.rename(path)
    sync_folder(path.parent)
    return True


def open_file(path: Path) -> int:
    """A descriptor to read from."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def read_piece(path: Path, at: int) -> bytes:
    """Of a file, from there on. Raises `NotFound` where it is gone."""
    try:
        descriptor = open_file(path)
    except FileNotFoundError:
        raise NotFound(f"There is no package {path.stem} any more.") from None
    try:
        return os.pread(descriptor, PIECE, at)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> int:
    """A new folder that nobody else may enter; its descriptor."""
    path.mkdir(mode=0o700)
    return os.open(path, _OPEN_FOLDER)


def publish(folder: int, new: Path, path: Path) -> None:
    """Give the folder `new`, open as `folder`, its name, once all of it is on disk.

    Where there is one of that name already, `new` is removed instead.
    """
    os.fchmod(folder, _PUBLISHED)
    _sync_file_system(folder)
    try:
        new.rename(path)
    except OSError:
        if not path.is_dir():
            raise
        remove(new)
    sync_folder(path.parent)


def has_entries(path: Path) -> bool:
    """Whether that is a folder, and no link to one, with something in it."""
    try:
        folder = os.open(path, _OPEN_FOLDER)
    except OSError:
        return False
    try:
        return bool(_entries(folder))
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, whoever made it.

    Folders in it are moved up before they are emptied: however deep they are nested,
    two of them are open at a time, and nothing here calls itself.
    """
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        path.unlink()
        return
    with _entered(path) as top:
        while entries := _entries(top):
            for name, is_folder in entries:
                if is_folder:
                    _remove_folder(name, top)
                else:
                    os.unlink(name, dir_fd=top)
    path.rmdir()


def _remove_folder(name: str, top: int) -> None:
    with _entered(name, top) as folder:
        for inner, is_folder in _entries(folder):
            if is_folder:
                # Entered first, because it takes the right to write to it.
                with _entered(inner, folder):
                    up = secrets.token_hex(16)
                    os.rename(inner, up, src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=folder)
    os.rmdir(name, dir_fd=top)


def _entries(folder: int) -> list[tuple[str, bool]]:
    """Names, and whether each is a folder; a link is none."""
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


@contextmanager
def _entered(name: str | Path, folder: int | None = None) -> Iterator[int]:
    """A folder, opened, also where whoever made it took our rights to it away."""
    handle = os.open(name, os.O_PATH | _OPEN_FOLDER, dir_fd=folder)
    try:
        # Through /proc, because a handle without rights takes no fchmod.
        Path(f"/proc/self/fd/{handle}").chmod(0o700)
        opened = os.open(".", _OPEN_FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
    try:
        yield opened
    finally:
        os.close(opened)


def temporary_beside(path: Path) -> Path:
    """A name for what shall be called `path` when it is whole."""
    return path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, _OPEN_FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(descriptor: int) -> None:
    """Write out the file system that `descriptor` is on.

    One call, where an fsync for each of 50,000 files would take minutes.
    """
    if _syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), "syncfs failed")


_syncfs = ctypes.CDLL(None, use_errno=True).syncfs
