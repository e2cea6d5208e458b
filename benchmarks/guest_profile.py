"""Takes the place of a zygote's first file, and writes down when each step was done.

Runs in the jail. Wraps the guest's own functions, so it knows their names: when one of
them goes away, this fails at once and says which. A mark is the step's name, the
monotonic clock and the page faults so far; the marks of an event go to stderr as one
line, before the next event is waited for.
"""

from __future__ import annotations

import sys

sys.path.insert(0, "/var/runtime")

import json
import os
import resource
import socket
import time

from sandlot_sandbox import frames, linux
from sandlot_sandbox.guest import (
    context,
    handler,
    hooks,
    uniqueness,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = b"profile: "

_marks: list[tuple[str, int, int]] = []

_CHANNEL = 3
_EVENT = "event: received"


def mark(name: str) -> None:
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _marks.append((name, time.monotonic_ns(), faults))


def wrap(owner: Any, name: str, after: str, before: str = "") -> None:
    """Have `owner.name` leave a mark when it is done, and one when it begins."""
    function = getattr(owner, name)

    def timed(*arguments: Any, **more: Any) -> Any:
        if before:
            mark(before)
        result = function(*arguments, **more)
        mark(after)
        return result

    setattr(owner, name, timed)


def receive_fork(*arguments: Any) -> Any:
    # The parent's part of the fork before this one ends here.
    _marks.clear()
    mark("zygote: awake")
    result = _recv_fds(*arguments)
    mark("zygote: fork note received")
    return result


def write(fd: int, data: bytes) -> int:
    written = _write(fd, data)
    if fd == _CHANNEL:
        mark("init: ready sent")
    return written


def read_event(channel: socket.socket) -> Any:
    if any(name == _EVENT for name, _, _ in _marks):
        mark("event: answer sent")
        _write(2, PREFIX + json.dumps(_marks).encode() + b"\n")
        _marks.clear()
    result = _read_event(channel)
    mark(_EVENT)
    return result


_recv_fds = socket.recv_fds
_read_event = frames.read_event
_write = os.write
socket.recv_fds = receive_fork  # type: ignore[assignment]
frames.read_event = read_event
os.write = write  # type: ignore[assignment]

wrap(uniqueness, "reseed", "zygote: reseeded", before="zygote: log stream's name")
wrap(linux, "setns", "zygote: setns(pid)")
wrap(os, "fork", "fork: first step of the child", before="zygote: about to fork")
wrap(linux.Entry, "enter", "cell: mount and network namespaces")
wrap(resource, "setrlimit", "cell: rlimit", before="cell: descriptors")
wrap(linux.Entry, "give_up_privileges", "cell: capabilities, seccomp filter")
wrap(hooks, "run_after_restore", "init: after-restore hooks")
wrap(context, "make", "event: context made")
wrap(handler, "invoke", "event: handler called, with its JSON")

if __name__ == "__main__":
    sys.path.remove("/var/runtime")
    # Ours goes on with the file whose place it took.
    with open(__file__ + ".replaced", encoding="utf-8") as file:  # noqa: PTH123
        exec(compile(file.read(), __file__, "exec"))  # noqa: S102
