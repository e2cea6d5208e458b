"""Runtimes beside those that were found: an operator registered them, by name and path.

They are in one file, which whoever may start the engine writes, and the engine cannot:
what it names is run outside of jails at each start, and mounted into them. Engine and
launcher read it again when it has changed.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sandlot_sandbox.launcher.runtime import Runtime, parse_runtimes

FILE = "registered.json"
"""In the folder with the guest's code, which is not the engine's to change."""

MAX_REGISTERED = 32
MAX_BYTES = 262_144
"""Of the file."""

MAX_LABEL = 32
_NAME = re.compile(
    r"(?:python3\.(?:9|1[0-5])|nodejs(?:1[89]|[2-9][0-9])\.x)"
    rf"(?:-[a-z0-9][a-z0-9_.]{{0,{MAX_LABEL - 1}}})?"
)


class Unreadable(Exception):
    """The file is not what `write` wrote, or somebody else could have written it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What an operator has registered."""

    name: str
    path: str
    """Of the interpreter, as it was given."""

    runtime: Runtime | None = None
    problem: str = ""
    """Why it cannot be used; empty where there is a `runtime`."""


def is_name(name: str) -> bool:
    """Whether a runtime can be registered under it: `python3.12`, or, beside another of
    that version, `python3.12-custom`."""
    return _NAME.fullmatch(name) is not None


def read(file: Path) -> list[Registered]:
    """All of them; none where there is no file. Raises `Unreadable`."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(file, flags)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}") from error
    try:
        found = os.fstat(fd)
        is_safe = found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022
        if not stat.S_ISREG(found.st_mode) or not is_safe:
            raise Unreadable(f"{file} is a file that others may write to")
        text = os.read(fd, MAX_BYTES + 1)
    finally:
        os.close(fd)
    try:
        entries = [_parse(each) for each in json.loads(text)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{file} is not what was written: {error}") from error
    if len(text) > MAX_BYTES or len(entries) > MAX_REGISTERED:
        raise Unreadable(f"{file} has more than {MAX_REGISTERED} runtimes")
    return entries


def write(file: Path, entries: Iterable[Registered]) -> None:
    """Whole, or not at all. One at a time: whoever writes holds the folder's lock."""
    text = json.dumps([asdict(entry) for entry in entries], indent=1, default=str)
    made = file.with_name(f".{file.name}-new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(made, flags, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as opened:
            opened.write(text)
            os.fchmod(fd, 0o644)
            os.fsync(fd)
        os.rename(made, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _parse(entry: dict[str, object]) -> Registered:
    name, path, problem = (str(entry[key]) for key in ("name", "path", "problem"))
    if not is_name(name):
        raise ValueError(f"{name!r} is no name of a runtime")
    runtime = None
    if entry["runtime"] is not None:
        (runtime,) = parse_runtimes(json.dumps([entry["runtime"]]))
        if runtime.name != name:
            raise ValueError(f"{name!r} has the runtime of {runtime.name!r}")
    return Registered(name, path, runtime, problem)


class Registry:
    """What there is now: what was found when the engine was started, and what is
    registered. What is registered comes first."""

    def __init__(self, found: Iterable[Runtime], file: Path | None = None) -> None:
        self._found = {runtime.name: runtime for runtime in found}
        self._file = file
        self._seen: tuple[int, ...] | None = None
        self._registered: list[Registered] = []
        self.trouble = ""
        """Why nothing that is registered can be used, if it is so."""

    @property
    def registered(self) -> list[Registered]:
        """Those that cannot be used, too."""
        self._look()
        return list(self._registered)

    @property
    def usable(self) -> dict[str, Runtime]:
        """By name."""
        return self._found | {
            entry.name: entry.runtime
            for entry in self.registered
            if entry.runtime is not None
        }

    def _look(self) -> None:
        if self._file is None:
            return
        try:
            found = os.lstat(self._file)
            seen: tuple[int, ...] = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            seen = ()
        if seen == self._seen:
            return
        self._seen, self.trouble = seen, ""
        try:
            self._registered = read(self._file)
        except Unreadable as unreadable:
            self._registered, self.trouble = [], str(unreadable)
