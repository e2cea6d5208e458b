"""Pairs of sockets whose other end a jail has."""

import os
import socket

import pytest

from sandlot_sandbox.host.pairs import SO_PASSRIGHTS, pair_with_jail


def _can_refuse() -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)
        except OSError:
            return False
    return True


@pytest.mark.skipif(not _can_refuse(), reason="needs Linux 6.16")
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_who_sends_a_descriptor_up_is_refused(kind: socket.SocketKind) -> None:
    ours, theirs = pair_with_jail(kind)

    with ours, theirs:
        with pytest.raises(PermissionError):
            socket.send_fds(theirs, [b"x"], [theirs.fileno()])
        with pytest.raises(BlockingIOError):
            ours.recv(1, socket.MSG_DONTWAIT)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_descriptors_still_go_down(kind: socket.SocketKind) -> None:
    ours, theirs = pair_with_jail(kind)

    with ours, theirs:
        socket.send_fds(ours, [b"x"], [theirs.fileno()])
        data, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
        for fd in descriptors:
            os.close(fd)

    assert (data, len(descriptors)) == (b"x", 1)
