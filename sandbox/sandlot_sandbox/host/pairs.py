"""Pairs of sockets whose other end a jail has."""

import contextlib
import socket

SO_PASSRIGHTS = 83
"""From socket(7), as x86_64 and aarch64 have it. Linux 6.16."""


def pair_with_jail(
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> tuple[socket.socket, socket.socket]:
    """Our end, and theirs, by which no descriptors come up. Raises `OSError`.

    That we take none is not enough: what is sent along and not taken, the kernel
    closes; and where nobody else holds it, it is we who wait until it is taken apart,
    for as long as its sender likes. From Linux 6.16 on the sender is refused; before,
    nothing takes longer than its memory takes to be freed: see `policy` on
    sockets that linger.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with contextlib.suppress(OSError):
        ours.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    return ours, theirs
