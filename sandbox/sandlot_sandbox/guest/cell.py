"""A cell: the namespaces of one instance, made before the instance is.

A cell has its own pid namespace, so that killing its first process kills all that
the instance ever started; its own mounts, for a /tmp and a /proc of its own; and
its own network namespace with nothing but a loopback. Making one takes a
millisecond or two, entering it a tenth of one: so they are made ahead of time, by
the warden, and a zygote's fork moves in.

A cell's first process is ours. It holds the cell open, reaps orphans, and waits to
be killed; the instance cannot touch it, because it is pid 1 there.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import os
import signal
import socket

from sandlot_sandbox import linux
from sandlot_sandbox.guest import enter
from sandlot_sandbox.limits import Limits

_NAMESPACES = linux.CLONE_NEWPID | linux.CLONE_NEWNS
_SIGCHLD = int(signal.SIGCHLD)
_SIG_IGN = int(signal.SIG_IGN)
_SEALED = b"s"
_MAX_ERROR = 256
_MAKE_S = 5.0
"""A hostile zygote can stop the process that we wait for: it is below it."""


def make(
    limits: Limits, seccomp: bytes | None, *, has_network: bool
) -> tuple[int, list[int]]:
    """The first process's pid, and descriptors of: it, and its pid, mount and
    network namespaces. Raises `OSError`, leaving nothing behind."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    flags = _NAMESPACES | (linux.CLONE_NEWNET if has_network else 0)
    pid = linux.clone(flags)
    if pid == 0:
        _hold(limits, seccomp, has_network, theirs)
    theirs.close()
    ours.settimeout(_MAKE_S)
    descriptors: list[int] = []
    try:
        with ours:
            message, descriptors, _, _ = socket.recv_fds(ours, _MAX_ERROR, 8)
        if message != _SEALED:
            raise OSError(message.decode("utf-8", "replace") or "a cell died at once")
        return pid, [os.pidfd_open(pid), *descriptors]
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        os.kill(pid, signal.SIGKILL)
        raise


def _hold(
    limits: Limits,
    seccomp: bytes | None,
    has_network: bool,
    warden: socket.socket,
) -> None:
    try:
        # Not by way of `signal`, whose enumerations cost a clone fifty pages.
        _signal.set_wakeup_fd(-1)
        # Ignored, so that the kernel reaps orphans by itself.
        _signal.signal(_SIGCHLD, _SIG_IGN)
        linux.set_death_signal(signal.SIGKILL)
        enter.mount_tmp("/tmp", limits)  # noqa: S108 - the jail's own
        enter.mount_proc("/proc")
        if has_network:
            linux.raise_loopback()
        # Nobody else may open these: we are not dumpable.
        namespaces = [
            os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
            for kind in ("pid", "mnt", "net")
        ]
        socket.send_fds(warden, [_SEALED], namespaces)
        linux.close_from(0)
        enter.seal_reaper(seccomp)
        while True:
            _signal.pause()
    except BaseException as error:  # noqa: BLE001 - it is reported, then we die of it
        with contextlib.suppress(OSError):
            warden.send(str(error).encode()[:_MAX_ERROR] or b"unknown")
    finally:
        os._exit(1)
