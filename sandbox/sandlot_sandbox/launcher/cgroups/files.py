"""Folders and files of control groups: made, opened, written and removed."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make one that others may go through: jails' users open what they join."""
    before = os.umask(0o066)
    try:
        folder.mkdir()
    finally:
        os.umask(before)


def remove_all(folder: Path) -> None:
    """Remove it with all groups below it, from the lowest up, as far as they are
    empty."""
    with contextlib.suppress(OSError):
        for inner in folder.iterdir():
            if inner.is_dir():
                remove_all(inner)
        folder.rmdir()


def remove_each(folders: Iterable[Path]) -> bool:
    gone = True
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            gone = False
    return gone


def open_file(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)


def write_file(path: Path, value: bytes) -> None:
    fd = open_file(path, os.O_WRONLY)
    try:
        os.write(fd, value)
    except OSError as error:
        raise OSError(error.errno, f"{path.name}: {error.strerror}") from error
    finally:
        os.close(fd)


@contextlib.contextmanager
def closed_on_error() -> Iterator[list[int]]:
    opened: list[int] = []
    try:
        yield opened
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise
