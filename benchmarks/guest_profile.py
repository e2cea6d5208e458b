"""Takes the place of a zygote's first file, and writes down when each step was done.

Runs in the jail, or in a bare zygote (`bare_zygote.py`). Wraps the guest's own
functions, so it knows their names: when one of them goes away, this fails at once and
says which. Forks are Python's here, since machine code (`fork_loop.py`) leaves no
marks. A mark is the step's name, the monotonic clock and the page faults so far; the
marks of an event go to stderr as one line, before the next event is waited for.
"""

from __future__ import annotations

import sys

sys.path.insert(0, "/var/runtime")

import json
import os
import resource
import socket
import time

from sandlot_sandbox.guest import (
    context,
    fork_loop,
    handler,
    hooks,
    instance,
)
from sandlot_sandbox.guest.entry import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = b"profile: "

_marks: list[tuple[str, int, int]] = []

_EVENT = "event: received"
_READY = "init: ready sent"
_FIRST = "(the first mark)"
_EMPTY = "(a mark)"
"""Steps in which nothing is done: what the first mark costs a clone, which writes to
the pages that marks are made of, and what every later one does."""


def mark(name: str) -> None:
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _marks.append((name, time.monotonic_ns(), faults))


def wrap(owner: Any, name: str, after: str = "", *, before: str = "") -> None:
    """Have `owner.name` leave a mark when it is done, and one when it begins."""
    function = getattr(owner, name)

    def timed(*arguments: Any, **more: Any) -> Any:
        if before:
            mark(before)
        result = function(*arguments, **more)
        if after:
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


def fork() -> int:
    pid = _fork()
    mark("fork: first step of the child")
    mark(_FIRST)
    mark(_EMPTY)
    return pid


def send(channel: socket.socket, data: bytes) -> None:
    _send(channel, data)
    if not any(name == _READY for name, _, _ in _marks):
        mark(_READY)


def receive(channel: socket.socket, size: int) -> bytes:
    if any(name == _EVENT for name, _, _ in _marks):
        mark("event: answer sent")
        os.write(2, PREFIX + json.dumps(_marks).encode() + b"\n")
        _marks.clear()
    result = _receive(channel, size)
    mark(_EVENT)
    return result


_fork = os.fork
_recv_fds = socket.recv_fds
_receive, _send = instance._receive, instance._send  # noqa: SLF001
socket.recv_fds = receive_fork  # type: ignore[assignment]
instance._receive, instance._send = receive, send  # type: ignore[assignment]  # noqa: SLF001
os.fork = fork
fork_loop.is_possible = lambda: False

wrap(Entry, "enter_pid_namespace", "zygote: setns(pid)", before="zygote: way laid out")
wrap(instance, "enter_cell", "cell: entered", before="fork: signals reset")
wrap(hooks, "run_after_restore", "init: after-restore hooks run")
wrap(context, "make", "event: context made")
wrap(handler, "invoke", "event: handler called, with its JSON")

if __name__ == "__main__":
    sys.path.remove("/var/runtime")
    # Ours goes on with the file whose place it took.
    with open(__file__ + ".replaced", encoding="utf-8") as file:  # noqa: PTH123
        exec(compile(file.read(), __file__, "exec"))  # noqa: S102
