"""Our own zygote without a jail: the same file, the same forks, no step into a cell.

Run by the functions' interpreter: `bare_zygote.py CHANNEL GUEST PACKAGE PROFILE`. It
obeys the engine's notes as any zygote does, so whatever it takes less, the jail takes.
PROFILE is the folder of `guest_profile.py`, for a clone that looks on, or empty.
"""

from __future__ import annotations

import importlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHANNEL = 3
_NO_LAYERS = ["shared-network", "no-landlock", "0"]


def main(channel: int, guest: str, package: str, profile: str) -> None:
    os.dup2(channel, _CHANNEL)
    if channel != _CHANNEL:
        os.close(channel)
    sys.path.insert(0, guest)
    from sandlot_sandbox.guest import entry, tmp_files, zygote

    os.chdir(package)
    zygote._TASK = package  # noqa: SLF001
    # What the machine has in /tmp and /proc, the import has not left behind.
    zygote._left_behind = tuple  # type: ignore[assignment]  # noqa: SLF001
    tmp_files.keep = no_files  # type: ignore[assignment]
    entry.Entry.enter_pid_namespace = stay  # type: ignore[assignment,method-assign]
    entry.Entry.before = no_calls  # type: ignore[assignment,method-assign]
    entry.Entry.calls = take_channels  # type: ignore[assignment,method-assign]
    if profile:
        sys.path.insert(0, profile)
        importlib.import_module("guest_profile")
        sys.path.remove("/var/runtime")
        sys.path.remove(profile)
    sys.path.remove(guest)
    zygote.main(_NO_LAYERS)


def stay(*_: Any) -> None:
    """There is no cell to come up in."""


def no_files(*_: Any) -> tuple[str, ...]:
    return ()


def no_calls(*_: Any) -> Any:
    from sandlot_sandbox.guest.calls import Calls

    return Calls()


def take_channels(_: Any, cell: list[int], ours: tuple[int, ...]) -> Any:
    """What a clone needs of the way into a cell to serve events at all. Three of the
    descriptors only stand for namespaces."""
    from sandlot_sandbox.guest.calls import Calls

    *_namespaces, channel, log = cell
    calls = Calls()
    for output in (1, 2):
        calls.add("dup3", log, output, 0)
    calls.add("dup3", channel, _CHANNEL, os.O_CLOEXEC)
    for fd in (*ours, *cell):
        calls.add("close", fd)
    return calls


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:5])
