"""Started in the launcher's place: writes down when each step of a jail was done.

`python -m benchmarks.launcher_profile BOARD …`, with the launcher's own arguments. It
wraps the functions that make jails and cells, so it knows their names: when one of them
goes away, this fails at once and says which. Wardens, cells, and zygotes until their
exec are clones of the launcher, and so write to the same board.
"""

import dataclasses
import os
import resource
import socket
import sys
import time
from typing import Any

from benchmarks.board import (
    EMPTY,
    FIRST,
    LAUNCHER,
    MEANWHILE,
    WARDEN,
    ZYGOTE,
    Board,
)
from sandlot_sandbox import limits, linux, policy
from sandlot_sandbox.guest import calls, cell, datagrams, enter, warden
from sandlot_sandbox.launcher import __main__ as launcher
from sandlot_sandbox.launcher import cgroups, filters, jails, server


class _Scribe:
    """What this process writes down; a clone has a copy, and a role of its own."""

    def __init__(self) -> None:
        self.role = ""
        """Nothing is written down without one."""
        self._board: Board | None = None
        self._next = 0
        self._faults = 0

    def open(self, fd: int) -> None:
        self._board = Board(fd)
        os.close(fd)

    def begin(self, role: str, name: str, *, is_new: bool = False) -> None:
        """Go on as `role`, with a first mark. `is_new`: in a process just cloned."""
        self.role = role
        self._next = 0
        self._faults = 0 if is_new else self._faults_so_far()
        self.mark(name)
        self.mark(FIRST)
        self.mark(EMPTY)

    def mark(self, name: str) -> None:
        if not self.role or self._board is None:
            return
        at_ns = time.monotonic_ns()
        faults = self._faults_so_far()
        more = faults - self._faults
        self._board.write(self.role, self._next, name.encode(), at_ns, more)
        self._faults = faults
        self._next += 1

    def _faults_so_far(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


_scribe = _Scribe()


def replace(owner: Any, name: str, function: Any) -> Any:
    """What was there before."""
    original = getattr(owner, name)
    setattr(owner, name, function)
    return original


def wrap(
    owner: Any, name: str, after: str = "", *, before: str = "", role: str = ""
) -> None:
    """Have `owner.name` leave a mark when it is done, and one when it begins; only in
    one role, if that is given."""
    function = getattr(owner, name)

    def timed(*arguments: Any, **more: Any) -> Any:
        if before and role in ("", _scribe.role):
            _scribe.mark(before)
        result = function(*arguments, **more)
        if after and role in ("", _scribe.role):
            _scribe.mark(after)
        return result

    setattr(owner, name, timed)


# The ways on which a chain begins, and forks.


def decode_order(datagram: bytes) -> Any:
    _scribe.begin(LAUNCHER, "order received")
    return _decode_order(datagram)


def clone(flags: int) -> Any:
    parent = _scribe.role
    if parent == LAUNCHER:
        _scribe.mark("not hidden, to write its maps")
    pid = _clone(flags)
    if pid == 0:
        _scribe.begin(WARDEN, "clone, first step of the child", is_new=True)
    elif parent == LAUNCHER:
        _scribe.begin(MEANWHILE, "clone returned")
    return pid


def start(*arguments: Any) -> Any:
    result = _start(*arguments)
    _scribe.mark("word given")
    _scribe.role = ""
    return result


def fork() -> Any:
    pid = _fork()
    # The warden's first only uses up a process id: the second writes over its marks.
    if pid == 0 and _scribe.role == WARDEN:
        _scribe.begin(ZYGOTE, "fork, first step of the child", is_new=True)
    return pid


def make_cell(*arguments: Any, **more: Any) -> Any:
    _scribe.begin(WARDEN, "order received")
    result = _make_cell(*arguments, **more)
    _scribe.mark("cell heard, its descriptors taken")
    return result


def send_fds(*arguments: Any) -> Any:
    # Not afterwards, when the receiver is at work already.
    _scribe.mark("ready to send")
    return _send_fds(*arguments)


def mount(
    source: str, target: str, kind: str | None, flags: int, options: str = ""
) -> None:
    _mount(source, target, kind, flags, options)
    if source in ("tmp", "proc"):
        _scribe.mark(f"/{source} mounted")
    elif kind is not None:
        _scribe.mark("root: tmpfs mounted")
    else:
        is_remount = bool(flags & linux.MS_REMOUNT)
        _scribe.mark("root: made read-only" if is_remount else "root: made private")


def execve(*arguments: Any) -> None:
    _scribe.mark("ready to exec")
    _execve(*arguments)


# Who looks asks for the page faults so far, which a warden has no use for.
_looking = policy.group("page faults so far", "getrusage")
replace(
    filters,
    "WARDEN",
    dataclasses.replace(policy.WARDEN, allowed=(*policy.WARDEN.allowed, _looking)),
)

_decode_order = replace(server, "decode_order", decode_order)
_clone = replace(linux, "clone", clone)
_start = replace(jails, "start", start)
_fork = replace(os, "fork", fork)
_make_cell = replace(cell, "make", make_cell)
_send_fds = replace(socket, "send_fds", send_fds)
_mount = replace(linux, "mount", mount)
_execve = replace(os, "execve", execve)

# The launcher: a jail.
wrap(cgroups.Group, "make", "control group made", before="order read")
wrap(cgroups.Group, "open_joins", "control group opened")
wrap(jails, "_plan", "planned", before="root: sources opened", role=LAUNCHER)
wrap(jails, "write_maps", "id maps written", before="pidfd opened, sources closed")
wrap(jails, "prefer_as_victim", "chosen as a victim")

# The warden, until it forks the zygote.
wrap(warden, "_let_go_of_the_launchers", "launcher's descriptors closed")
wrap(
    socket.socket,
    "recv",
    "heard (a jail: its id maps are written; a cell: it is sealed)",
    before="ready to hear",
    role=WARDEN,
)
wrap(enter, "become_inner_user", "user changed")
wrap(linux, "set_death_signal", "death signal set")
wrap(enter, "name_the_host", "host named")
wrap(os, "mkdir", "root: folders made", role=WARDEN)
wrap(os, "symlink", "root: links made", role=WARDEN)
wrap(enter, "_write", "root: files written", role=WARDEN)
wrap(linux, "move_mount", "root: mounts attached", role=WARDEN)
wrap(linux, "pivot_root", "root: pivoted", role=WARDEN)
wrap(linux, "unmount_tree", "root: host's detached", role=WARDEN)
wrap(linux, "raise_loopback", "loopback raised")
wrap(warden, "_use_up_pid_2", "process 2 used up", before="signals set up")

# The zygote's process, until it is the interpreter's.
wrap(linux, "heed_signals", "signals reset", role=ZYGOTE)
wrap(linux, "close_from", "descriptors put in place", role=ZYGOTE)
wrap(limits.Limits, "apply", "limits set", before="in its folder", role=ZYGOTE)
wrap(linux, "make_inheritable", "capabilities made inheritable", role=ZYGOTE)
wrap(linux, "drop_bounding_set", "bounding set emptied", role=ZYGOTE)
wrap(linux, "set_capabilities", "capabilities given up", role=ZYGOTE)
wrap(linux, "set_no_new_privileges", "no new privileges", role=ZYGOTE)
wrap(linux, "restrict_self", "Landlock domain", role=ZYGOTE)
wrap(linux, "load_filter", "seccomp filter loaded", role=ZYGOTE)

# Cells.
# Their first processes only make calls, out of a table, and cannot look.
wrap(calls, "clone", "cloned", before="calls laid out", role=WARDEN)
wrap(datagrams, "decode_cell", before="cell heard of", role=LAUNCHER)
wrap(cgroups.Group, "open_files", "control group's files opened", role=LAUNCHER)

if __name__ == "__main__":
    _scribe.open(int(sys.argv.pop(1)))
    sys.exit(launcher.main())
