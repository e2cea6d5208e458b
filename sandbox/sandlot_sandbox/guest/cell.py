"""A cell: what one instance lives in, made before the instance is.

A cell has its own pid namespace, so that killing its first process kills all that
the instance ever started; its own mounts, for a /tmp and a /proc of its own; its
own network namespace; a Landlock ruleset that knows its /tmp; and, where there are
control groups, its own. Making one takes milliseconds, entering it a tenth of one:
so they are made ahead of time, by the warden, and a zygote's fork moves in.

A cell's first process is ours. It holds the cell open, reaps orphans, and waits to
be killed; the instance cannot touch it, because it is pid 1 there. Where no control
group can freeze the cell, it stops and continues all that is in there.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import os
import signal
import socket
from dataclasses import dataclass

from sandlot_sandbox import linux
from sandlot_sandbox.guest import enter, network_memory
from sandlot_sandbox.guest.holder import (
    MAX_CALLERS,
    RUNTIME_API_PORT,
    SEALED,
    Holder,
)
from sandlot_sandbox.guest.leash import Turns, obey
from sandlot_sandbox.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAMESPACES = linux.CLONE_NEWPID | linux.CLONE_NEWNS
_SIGCHLD = int(signal.SIGCHLD)
_SIG_IGN = int(signal.SIG_IGN)
_TELL = 1
_MAX_ERROR = 256
_MAX_DESCRIPTORS = 8
MAKE_S = 10.0
"""A cell's first process has nothing to wait for, but a swamped machine is slow. The
engine waits for longer than that."""


@dataclass(frozen=True)
class Blueprint:
    """What all cells of a jail have in common."""

    limits: Limits
    seccomp: bytes | None
    """For the first process; None only where the operator gave that layer up."""

    has_network: bool
    """False only where cells share the network that the jail is in."""

    landlock: int
    """The version of Landlock's interface; 0 for none."""

    has_runtime_api: bool
    """Whether instances speak the Runtime API: they connect to a port of the cell."""

    has_leash: bool
    """Whether the first process is to freeze the others, for want of a group."""

    has_image: bool = False
    """Whether an image's root is theirs."""

    counts_sockets: bool = False
    """Whether the warden counts what their sockets hold, for want of a group."""

    shows_sockets: bool = False
    """Whether the launcher sees how many they have, as groups do not count all."""


def make(
    blueprint: Blueprint,
    joins: list[int],
    turns: Turns | None,
    tmp: int | None = None,
    holder: Holder | None = None,
    *,
    wait: Callable[[socket.socket], None] = lambda _: None,
) -> tuple[int, list[str], list[int]]:
    """The first process's pid; descriptors, and what each is.

    `joins` are written to, so that it is in the cell's control group. Its /tmp is a new
    one, or `tmp`, a cell's that is dead. Its first process is the `holder`'s, if there
    is one. The descriptors: `pidfd` of the first process; its namespaces `pid`,
    `mnt` and `net`; where a group counts memory, the number of its `sockets`; its
    `tmp`, a copy of that mount, which lives on without the cell; a
    `ruleset` for instances, where there is Landlock; a listening socket, `api`, where
    instances speak the Runtime API; `questions` about its sockets, where they are
    counted; and a `leash`, where one was asked for: then the first process counts
    `turns`. `wait` may return when there is something to read, or raise `OSError`;
    meanwhile the process may be reaped. Raises `OSError`, leaving nothing behind.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    leash = os.pipe2(os.O_CLOEXEC) if blueprint.has_leash else None
    flags = _NAMESPACES | (linux.CLONE_NEWNET if blueprint.has_network else 0)
    try:
        if holder is not None:
            pid = holder.clone(flags, theirs.fileno(), joins, tmp)
        else:
            pid = linux.clone(flags)
            if pid == 0:
                _hold(blueprint, joins, leash, theirs, turns, tmp)
    except BaseException:
        ours.close()
        _close(leash or ())
        raise
    finally:
        theirs.close()
    opened = [leash[1]] if leash else []
    pidfd = -1
    try:
        if leash:
            os.close(leash[0])
        ours.settimeout(MAKE_S)
        with ours:
            # At once: its number is another's when it is dead and reaped.
            pidfd = os.pidfd_open(pid)
            wait(ours)
            message, descriptors, _, _ = socket.recv_fds(
                ours, _MAX_ERROR, _MAX_DESCRIPTORS
            )
            opened += descriptors
            if descriptors:
                wait(ours)
            said = ours.recv(_MAX_ERROR) if descriptors else SEALED
        trouble = None if holder is None else holder.trouble
        if said != SEALED:
            text = said.decode("utf-8", "replace")
            raise trouble or OSError(text or "it was not sealed")
        names = message.decode("utf-8", "replace").split()
        if len(names) != len(descriptors) or not names:
            raise trouble or OSError(" ".join(names) or "a cell died at once")
        # Not one that is dead and reaped already: nobody would tell of that any more.
        signal.pidfd_send_signal(pidfd, 0)
    except BaseException:
        _close(opened)
        if pidfd < 0:
            os.kill(pid, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        raise
    opened.append(pidfd)
    return pid, [*(["leash"] if leash else []), *names, "pidfd"], opened


def _hold(
    blueprint: Blueprint,
    joins: list[int],
    leash: tuple[int, int] | None,
    warden: socket.socket,
    turns: Turns | None,
    tmp: int | None,
) -> None:
    tell = warden.fileno()
    try:
        # Not by way of `signal`, whose enumerations cost a clone fifty pages.
        _signal.set_wakeup_fd(-1)
        # Ignored, so that the kernel reaps orphans by itself.
        _signal.signal(_SIGCHLD, _SIG_IGN)
        linux.set_death_signal(signal.SIGKILL)
        for join in joins:
            os.write(join, b"0")
        if tmp is None:
            enter.mount_tmp("/tmp", blueprint.limits)  # noqa: S108 - the jail's own
        else:
            _take_over(tmp)
        enter.mount_proc("/proc")
        if blueprint.has_network:
            linux.raise_loopback()
        # Nobody else may open these: we are not dumpable.
        found = {
            kind: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
            for kind in ("pid", "mnt", "net")
        }
        if blueprint.shows_sockets:
            found["sockets"] = network_memory.open_number()
        found["tmp"] = linux.copy_of_mount("/tmp")  # noqa: S108
        if blueprint.landlock:
            found["ruleset"] = enter.make_instance_ruleset(
                blueprint.landlock, has_image=blueprint.has_image
            )
        if blueprint.has_runtime_api:
            found["api"] = _listen(blueprint)
        if blueprint.counts_sockets:
            found["questions"] = network_memory.open_questions()
        socket.send_fds(warden, [" ".join(found).encode()], list(found.values()))
        # In this order, as neither may overwrite the other.
        tell = os.dup(tell)
        os.dup2(leash[0] if leash else tell, 0)
        tell = os.dup2(tell, _TELL)
        linux.close_from(_TELL + 1)
        enter.seal_reaper(blueprint.seccomp)
        os.write(_TELL, SEALED)
        os.close(_TELL)
        if not leash:
            os.close(0)
        if leash and turns:
            obey(0, turns)
        while True:
            _signal.pause()
    except BaseException as error:  # noqa: BLE001 - it is reported, then we die of it
        with contextlib.suppress(OSError):
            os.write(tell, str(error).encode()[:_MAX_ERROR] or b"unknown")
    finally:
        os._exit(1)


def _take_over(tmp: int) -> None:
    """Of a cell that is dead: its size, its flags and what lies in it are as there."""
    linux.move_mount(tmp, "/tmp")  # noqa: S108


def _listen(blueprint: Blueprint) -> int:
    """On loopback: the cell's own, at AWS's port; or, at any, on one that is shared."""
    api = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    api.bind(("127.0.0.1", RUNTIME_API_PORT if blueprint.has_network else 0))
    api.listen(MAX_CALLERS)
    return api.detach()


def _close(descriptors: tuple[int, ...] | list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
