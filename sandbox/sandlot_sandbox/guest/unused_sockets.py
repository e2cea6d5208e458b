"""UDP sockets that the import opened and has not used, as tracers and log handlers do:

    sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # at the import
    sent.sendto(metric, daemon)                              # in the handler

Shared, the first to send would bind it for all clones, and in their zygote's network.
Bound to nothing and connected to nothing, it is no more than its kind and its options:
so each clone opens another, under the same number.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INTERNET = (_socket.AF_INET, _socket.AF_INET6)
_BUFFERS = (_socket.SO_SNDBUF, _socket.SO_RCVBUF)
_OPTIONS = {
    _socket.SOL_SOCKET: (
        *(*_BUFFERS, _socket.SO_REUSEADDR, _socket.SO_REUSEPORT),
        _socket.SO_BROADCAST,
    ),
    _socket.IPPROTO_IP: (
        *(_socket.IP_TOS, _socket.IP_TTL),
        *(_socket.IP_MULTICAST_TTL, _socket.IP_MULTICAST_LOOP),
    ),
    _socket.IPPROTO_IPV6: (
        *(_socket.IPV6_V6ONLY, _socket.IPV6_UNICAST_HOPS),
        *(_socket.IPV6_MULTICAST_HOPS, _socket.IPV6_MULTICAST_LOOP),
    ),
}
"""By level, those that are numbers and that anybody sets."""


class _Unused:
    """One of them, as its zygote has it."""

    __slots__ = ("_fd", "_is_blocking", "_is_inheritable", "_kind", "_options")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_blocking = os.get_blocking(fd)
        self._is_inheritable = os.get_inheritable(fd)
        with looked_at(fd) as probe:
            self._kind = probe.family, probe.type, probe.proto
            self._options = _options_of(probe)

    def reopen(self) -> None:
        own = _socket.socket(*self._kind)
        try:
            for (level, option), value in self._options.items():
                own.setsockopt(level, option, value)
            os.set_blocking(own.fileno(), self._is_blocking)
            os.dup2(own.fileno(), self._fd, self._is_inheritable)
        finally:
            own.close()


_unused: list[_Unused] = []


def keep(descriptors: Iterable[int]) -> None:
    """In the zygote, after the import: of those that `is_unused`. They stay open, so
    that nothing else has their numbers."""
    _unused[:] = [_Unused(fd) for fd in descriptors]


def reopen() -> None:
    """In a clone, before anything of the tenant's runs in it. Raises `OSError`."""
    for each in _unused:
        each.reopen()


def is_unused(fd: int) -> bool:
    """Whether that socket is one of the above."""
    with looked_at(fd) as probe:
        if probe.family not in _INTERNET or probe.type != _socket.SOCK_DGRAM:
            return False
        try:
            probe.getpeername()
        except OSError as error:
            is_bound = probe.getsockname()[1] != 0
            return error.errno == errno.ENOTCONN and not is_bound
    return False


@contextlib.contextmanager
def looked_at(fd: int) -> Iterator[_socket.socket]:
    """A socket object of a descriptor that stays the tenant's."""
    was_blocking = os.get_blocking(fd)
    # It takes the process's default time-out and with it O_NONBLOCK, which belongs to
    # the tenant's socket as well.
    probe = _socket.socket(fileno=fd)
    try:
        yield probe
    finally:
        probe.detach()
        os.set_blocking(fd, was_blocking)


def _options_of(probe: _socket.socket) -> dict[tuple[int, int], int]:
    """What has to be set of a new one for it to be alike."""
    fresh = _socket.socket(probe.family, probe.type, probe.proto)
    try:
        usual = _numbers(fresh)
    finally:
        fresh.close()
    return {
        # The kernel tells twice what it was told.
        (level, option): value // 2 if option in _BUFFERS else value
        for (level, option), value in _numbers(probe).items()
        if usual[level, option] != value
    }


def _numbers(probe: _socket.socket) -> dict[tuple[int, int], int]:
    found = {}
    for level, options in _OPTIONS.items():
        for option in options:
            # Some are for one of the families only.
            with contextlib.suppress(OSError):
                found[level, option] = probe.getsockopt(level, option)
    return found
