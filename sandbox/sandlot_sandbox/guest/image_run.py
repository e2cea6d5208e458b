"""What is run of a container image: its entry point and command, or the function's,
with its environment, in its folder.

The zygote reads what the builder left of the image's configuration; it is a stranger's
word, in a process that is sealed and has imported nothing.
"""

from __future__ import annotations

import json
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IMAGE = "image"
"""In place of a program, or of a place to build for: it is an image's."""

ROOT, SETTINGS = "root", "image.json"
"""What a builder makes: the files; and what the image says about how it is run."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for if the image does not say."""


def import_nothing_more() -> None:
    """Takes away: modules that a stranger's files would be taken for."""
    # `socket.recv_fds` does it when it is called.
    import array  # noqa: F401 - here, or there is none any more

    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if getattr(finder, "__name__", "") in ("BuiltinImporter", "FrozenImporter")
    ]


class CannotRun(Exception):
    """In AWS's words."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Run:
    """Settled in the zygote; entered by each clone, in its cell."""

    def __init__(
        self, argv: list[str], folder: str, environment: dict[str, str]
    ) -> None:
        self.argv = argv
        self.folder = folder
        self.environment = environment
        """The image's. The function's own comes over it."""

    def enter(self, environment: dict[str, str]) -> list[str]:
        """Go to its folder; the argument list, its program found as a shell would.
        Raises `CannotRun`."""
        if not self.argv:
            raise CannotRun(
                "Runtime.InvalidEntrypoint", "the image says nothing that could be run"
            )
        try:
            os.chdir(self.folder)
        except OSError as error:
            why = str(error.strerror).lower()
            raise CannotRun(
                "Runtime.InvalidWorkingDir", f"chdir {self.folder}: {why}"
            ) from None
        return [_program(self.argv[0], environment.get("PATH", _PATH)), *self.argv[1:]]


def settle(wanted: dict[str, Any], path: str = f"/var/task/{SETTINGS}") -> Run:
    """What the function wants, or else what the image at `path` says."""
    with open(path, encoding="utf-8") as file:
        said = json.load(file)
    entry_point = wanted["entry_point"] or said["entrypoint"]
    command = wanted["command"] or said["command"]
    return Run(
        argv=[*entry_point, *command],
        folder=wanted["working_directory"] or said["working_directory"] or "/",
        environment={"PATH": _PATH, **said["environment"]},
    )


def _program(name: str, path: str) -> str:
    if "/" in name:
        return name
    for folder in path.split(":"):
        found = f"{folder or '.'}/{name}"
        try:
            mode = os.stat(found).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return found
    raise CannotRun(
        "Runtime.InvalidEntrypoint",
        f"exec: {name!r}: executable file not found in $PATH",
    )
