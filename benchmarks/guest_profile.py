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

from sandlot_sandbox import frames, limits, linux
from sandlot_sandbox.guest import (
    context,
    handler,
    hooks,
    instance,
    uniqueness,
    zygote,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PREFIX = b"profile: "

_marks: list[tuple[str, int, int]] = []

_NAMESPACES = {
    linux.CLONE_NEWPID: "zygote: setns(pid)",
    linux.CLONE_NEWNS: "cell: setns(mount)",
    linux.CLONE_NEWNET: "cell: setns(network)",
}
_SENT = {frames.READY: "init: ready sent", frames.ANSWER: "event: answer sent"}


def mark(name: str) -> None:
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _marks.append((name, time.monotonic_ns(), faults))


def wrap(
    module: Any, name: str, after: str | Callable[..., str], before: str | None = None
) -> None:
    """Have `module.name` leave a mark when it is done, and one when it begins."""
    function = getattr(module, name)

    def timed(*arguments: Any, **more: Any) -> Any:
        if before is not None:
            mark(before)
        result = function(*arguments, **more)
        mark(after if isinstance(after, str) else after(*arguments))
        return result

    setattr(module, name, timed)


def receive(*arguments: Any) -> Any:
    # The parent's part of the fork before this one ends here.
    _marks.clear()
    mark("zygote: awake")
    result = _recv_fds(*arguments)
    mark("zygote: fork note received")
    return result


def read_event(channel: socket.socket) -> Any:
    if _marks and _marks[-1][0] == _SENT[frames.ANSWER]:
        os.write(2, PREFIX + json.dumps(_marks).encode() + b"\n")
        _marks.clear()
    result = _read_event(channel)
    mark("event: received")
    return result


_recv_fds = socket.recv_fds
_read_event = frames.read_event
socket.recv_fds = receive  # type: ignore[assignment]
frames.read_event = read_event

wrap(linux, "setns", lambda fd, kind: _NAMESPACES[kind])
wrap(os, "fork", "fork: first step of the child", before="zygote: about to fork")
wrap(os, "chdir", "cell: chdir")
wrap(limits, "apply_to_instance", "cell: rlimit", before="cell: descriptors")
wrap(linux, "drop_capabilities", "cell: capabilities dropped")
wrap(linux, "load_filter", "cell: seccomp filter loaded")
wrap(uniqueness, "reseed", "init: reseeded", before="init: channel, log stream's name")
wrap(hooks, "run_after_restore", "init: after-restore hooks")
wrap(instance, "_send", lambda channel, kind, *_: _SENT.get(kind, "an error sent"))
wrap(context, "make", "event: context made")
wrap(handler, "invoke", "event: handler called, with its JSON")

if __name__ == "__main__":
    sys.path.remove("/var/runtime")
    zygote.main(sys.argv[1])
