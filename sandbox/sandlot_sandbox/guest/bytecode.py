"""Compiles a package's modules, so that its zygotes and instances need not.

Never refuses anything: what does not compile, takes too long or too much is left as
it is, and whoever imports it is told. The compiler is fed by strangers, cannot be
interrupted, and some versions of it crash on nested nonsense; so it has a process of
its own, which the kernel ends in time.

What it writes is for this interpreter alone, and holds whatever the time stamps of
the files say: nothing of a package ever changes (PEP 552, "unchecked").
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from sandlot_sandbox.guest.unpacking import Walk, new_file, write_all

if TYPE_CHECKING:
    from sandlot_sandbox.guest.archive import Entry

COMPILE_S = 30.0
"""No file is begun after that."""

ONE_FILE_S = 5
"""And the last one has this long."""

MAX_SOURCE = 1_048_576
"""Bytes of a file that is compiled. Larger ones are tables, and take memory."""

MAX_BYTECODE = 134_217_728
"""Bytes of all that is written."""

MOST_OF_SOURCE, MORE = 4, 4_096
"""Bytes of one file's for each of its source, and beside that. Python's own have one or
two; `"0" * 1000` has seventy times as many, and no quota counts them."""

ALL_OF_SOURCES, MORE_OF_ALL = 2, 1_048_576
"""The same for all that is written."""

_CACHE = "__pycache__"
_HEADER = 16
_UNCHECKED = (0b01).to_bytes(4, "little")
_BY_HASH = 0b01


def compile_apart(
    entries: list[Entry], root: int, place: str, hidden: tuple[int, ...]
) -> None:
    """Compile the modules among `entries` in a child, without the descriptors `hidden`.

    Returns when the child has ended, however it did. Each file is there whole or not
    at all. `place` is where their root will be, as tracebacks tell of it.
    """
    sources = sources_of(entries)
    new = f".new-{os.urandom(8).hex()}"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for descriptor in hidden:
                os.close(descriptor)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(COMPILE_S) + ONE_FILE_S)
            compile_all(sources, root, place, new)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if status:
        _sweep(sources, root, new)


def sources_of(entries: list[Entry]) -> list[str]:
    """The paths of the modules to compile, sorted by their folders."""
    paths = (
        entry.path.split("/")
        for entry in entries
        if not entry.is_folder and entry.size <= MAX_SOURCE
    )
    modules = (p for p in paths if p[-1].endswith(".py") and _CACHE not in p)
    return ["/".join(path) for path in sorted(modules)]


def compile_all(sources: list[str], root: int, place: str, new: str) -> None:
    """Compile into `__pycache__` beside each source, by way of a file named `new`."""
    warnings.simplefilter("ignore")
    until = time.monotonic() + COMPILE_S
    room = _room_for(sources, root)
    with Walk(root) as walk:
        for path in sources:
            if time.monotonic() > until:
                return
            *folders, name = path.split("/")
            # Anything: a SyntaxError, a NUL, no memory, no room on the disk.
            with suppress(Exception):
                source = _content(name, walk.enter(folders))
                pyc = _compiled(source, f"{place}/{path}")
                if len(pyc) > min(room, MOST_OF_SOURCE * len(source) + MORE):
                    continue
                room -= len(pyc)
                _keep(pyc, _pyc_name(name), walk.enter([*folders, _CACHE]), new)


def _room_for(sources: list[str], root: int) -> int:
    """Bytes that may be written for all of them."""
    size = 0
    with Walk(root) as walk:
        for path in sources:
            *folders, name = path.split("/")
            with suppress(OSError):
                size += os.lstat(name, dir_fd=walk.enter(folders)).st_size
    return min(MAX_BYTECODE, ALL_OF_SOURCES * size + MORE_OF_ALL)


def _compiled(source: bytes, path: str) -> bytes:
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source)
    return head + marshal.dumps(code)


def _pyc_name(name: str) -> str:
    return f"{name[:-3]}.{sys.implementation.cache_tag}.pyc"


def _keep(pyc: bytes, name: str, folder: int, new: str) -> None:
    if _serves_already(name, folder):
        return
    try:
        with new_file(new, folder) as descriptor:
            write_all(descriptor, pyc)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _serves_already(name: str, folder: int) -> bool:
    """Whether the package brought one that this interpreter would believe.

    It would not believe one that names its source's time: unpacking made that anew.
    """
    try:
        head = _content(name, folder, _HEADER)
    except FileNotFoundError:
        return False
    is_ours = len(head) == _HEADER and head.startswith(importlib.util.MAGIC_NUMBER)
    return is_ours and bool(head[len(importlib.util.MAGIC_NUMBER)] & _BY_HASH)


def _content(name: str, folder: int, size: int = MAX_SOURCE) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:
        return file.read(size)


def _sweep(sources: list[str], root: int, new: str) -> None:
    """Remove the file that a child was writing when it was ended."""
    with Walk(root) as walk:
        for path in sources:
            with suppress(OSError):
                os.unlink(f"{_CACHE}/{new}", dir_fd=walk.enter(path.split("/")[:-1]))
