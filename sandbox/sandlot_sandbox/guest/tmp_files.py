"""What the import left in /tmp, for each clone to have in a /tmp of its own.

Caches that a library makes when it is imported, a model that was fetched: on AWS Lambda
a snapshot has them as well. The zygote keeps the files open, because by a path a clone
cannot reach them; a clone copies them before anything of the tenant's runs in it.

Not copied, and told of, is what would take longer than an import likely does, and what
is neither file nor folder nor link.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TMP = "/tmp"  # noqa: S108 - the jail's own
MAX_FILES = 256
"""With folders and links. Each file is one of the zygote's 1,024 descriptors."""

MAX_BYTES = 64 * 1024 * 1024
_PIECE = 256 * 1024
_MAX_SHOWN = 200


class _Left:
    """A file, a folder or a link of the zygote's."""

    __slots__ = ("_mode", "_path", "_source", "_times_ns", "size")

    def __init__(self, path: str) -> None:
        """Raises `OSError`, also where it is something else."""
        status = os.lstat(path)
        self._path = path
        self._mode = status.st_mode
        self._times_ns = status.st_atime_ns, status.st_mtime_ns
        self._source: int | str | None = None
        self.size = 0
        if stat.S_ISREG(self._mode):
            self._source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self.size = status.st_size
        elif stat.S_ISLNK(self._mode):
            self._source = os.readlink(path)
        elif not stat.S_ISDIR(self._mode):
            raise OSError(errno.EINVAL, "neither a file nor a folder", path)

    def make(self) -> None:
        # What is reset has the last one's /tmp: there is one already.
        if isinstance(self._source, int):
            self._remove()
            self._copy(self._source)
        elif self._source is not None:
            self._remove()
            os.symlink(self._source, self._path)
        else:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._path, 0o700)

    def finish(self) -> None:
        """Once all that is in a folder is there."""
        if not stat.S_ISLNK(self._mode):
            os.chmod(self._path, stat.S_IMODE(self._mode))
        os.utime(self._path, ns=self._times_ns, follow_symlinks=False)

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _copy(self, source: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        own = os.open(self._path, flags, 0o600)
        try:
            at = 0
            # By position, as all clones have this descriptor of the zygote's.
            while piece := os.pread(source, _PIECE, at):
                at += os.write(own, piece)
        finally:
            os.close(own)
            os.close(source)


class _Appended:
    """One of these files that the import left open to be appended to."""

    __slots__ = ("_fd", "_flags", "_is_inheritable", "_path")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._path = os.readlink(f"/proc/self/fd/{fd}")
        self._flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        self._is_inheritable = os.get_inheritable(fd)

    def reopen(self) -> None:
        own = os.open(self._path, self._flags)
        try:
            os.lseek(own, 0, os.SEEK_END)
            os.dup2(own, self._fd, self._is_inheritable)
        finally:
            os.close(own)


_left: list[_Left] = []
_last_first: list[_Left] = []
"""The same."""
_appended: list[_Appended] = []
_folder: str | None = None
"""Where in there the import has gone to, if it has."""


def keep(appended: Iterable[int] = ()) -> Iterator[str]:
    """In the zygote, after the import: have clones get all of it, and go on with what
    is `appended` to. Yields why not."""
    global _folder
    with contextlib.suppress(FileNotFoundError):  # Removed since.
        folder = os.getcwd()
        _folder = folder if folder.startswith(f"{TMP}/") else None
    size = 0
    try:
        for path in _all_below(TMP):
            left = _Left(path)
            _left.append(left)
            size += left.size
            if len(_left) > MAX_FILES or size > MAX_BYTES:
                yield _because(
                    f"clones get {MAX_FILES} files of {MAX_BYTES >> 20} MB at most"
                )
                return
        _last_first[:] = reversed(_left)
        _appended[:] = [_Appended(fd) for fd in appended]
    except OSError as error:
        which = ascii(str(error.filename)[:_MAX_SHOWN])
        yield _because(f"{which} cannot be copied ({error.strerror})")


def restore() -> None:
    """In a clone, before anything of the tenant's runs in it. Raises `OSError`."""
    for left in _left:
        left.make()
    for left in _last_first:
        left.finish()
    for each in _appended:
        each.reopen()
    if _folder is not None:
        os.chdir(_folder)


def _all_below(folder: str) -> Iterator[str]:
    """Paths, of folders before what is in them."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        yield entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from _all_below(entry.path)


def _because(why: str) -> str:
    return (
        f"the import wrote to /tmp, and {why}: every instance has a /tmp of its own, so"
        " write inside the handler"
    )
