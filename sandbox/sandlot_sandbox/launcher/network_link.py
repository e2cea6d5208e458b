"""A cell's end of its way out: a tap device, its filter, routes, the resolver's socket.

The kernel is told through rtnetlink, because ioctls know no `prohibit`. What is made
here the jail's processes cannot change: none has a capability over the namespace, and
their system call filter has no netlink.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Network

from sandlot_sandbox import linux
from sandlot_sandbox.launcher.network_rules import (
    CELL,
    GATEWAY,
    VIRTUAL,
    Rules,
    packet_filter,
)

TUN = "/dev/net/tun"
MTU = 65_520
"""The larger, the fewer frames: slirp4netns passes streams on, no packets."""

RESOLVER = ("127.0.0.53", 53)
"""In the cell's own loopback; `127.0.0.1` stays free for what a function listens on."""

_NAME = b"eth0"
_TUNSETIFF = 0x400454CA
_TUNATTACHFILTER = 0x401054D5
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_UP, _IFF_NOARP = 0x1, 0x80

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE, _RTM_GETROUTE = 16, 20, 24, 26
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _EXCL, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_IFLA_ADDRESS, _IFLA_MTU = 1, 4
_STATION = bytes.fromhex("02005a6e0001")
"""The device's own address, and so that of all that it sends to."""
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_MAIN_TABLE, _STATIC = 254, 4
_UNICAST, _PROHIBIT = 1, 8
_OURS = frozenset((2, 3, 4, 5))
"""RTN_LOCAL, BROADCAST, ANYCAST, MULTICAST: what the machine takes for itself."""

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_MAX_REPLY = 65_536


def make_link(namespace: int, rules: Rules) -> tuple[int, socket.socket]:
    """Enter a cell's network namespace, and give it a way out that goes nowhere yet.

    The tap device's frames, and the socket at `RESOLVER`. The device goes when its
    descriptor is closed. Raises `OSError`.
    """
    linux.setns(namespace, linux.CLONE_NEWNET)
    # It belongs to the namespace that it was opened in.
    tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = _IFF_TAP | _IFF_NO_PI
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", _NAME, flags))
    _attach_filter(tap, packet_filter(rules))
    index = socket.if_nametoindex(_NAME.decode())
    _tell_kernel(list(_configuration(index, rules)))
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(RESOLVER)
    return tap, resolver


def introduction() -> bytes:
    """A frame by which slirp4netns learns who has `CELL`: the device answers nobody."""
    who = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    addresses = _STATION + CELL.packed + bytes(6) + GATEWAY.packed
    return b"\xff" * 6 + _STATION + b"\x08\x06" + who + addresses


def own_networks() -> list[IPv4Network]:
    """What the machine takes for itself, in the network namespace that we are in.

    Its addresses, their broadcast addresses, and whatever else was routed to it.
    """
    request = _message(_RTM_GETROUTE, _DUMP, struct.pack("=B11x", socket.AF_INET))
    found: list[IPv4Network] = []
    with _rtnetlink() as netlink:
        netlink.send(request)
        for kind, payload in _replies(netlink):
            if kind == _NLMSG_DONE:
                return found
            if kind == _NLMSG_ERROR:
                raise _error(payload, "the machine's addresses")
            family, length, *_, type_, _flags = _ROUTE.unpack_from(payload)
            target = _attributes(payload[_ROUTE.size :]).get(_RTA_DST, bytes(4))
            if family == socket.AF_INET and type_ in _OURS:
                found.append(IPv4Network((target, length)))
    return found


def _attach_filter(tap: int, program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    request = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    fcntl.ioctl(tap, _TUNATTACHFILTER, request)


def _configuration(index: int, rules: Rules) -> Iterator[bytes]:
    # Nobody is asked for: each neighbour that is has a place in a table of 1,024 which
    # the whole machine has, and keeps it for seconds.
    flags = _IFF_UP | _IFF_NOARP
    link = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)
    attributes = {_IFLA_MTU: struct.pack("=I", MTU), _IFLA_ADDRESS: _STATION}
    yield _message(_RTM_NEWLINK, 0, link, attributes)
    address = struct.pack("=BBBBi", socket.AF_INET, VIRTUAL.prefixlen, 0, 0, index)
    yield _message(
        _RTM_NEWADDR,
        _CREATE | _EXCL,
        address,
        {_IFA_LOCAL: CELL.packed, _IFA_ADDRESS: CELL.packed},
    )
    for rule in rules.rules:
        attributes = {_RTA_DST: rule.network.network_address.packed}
        if rule.is_open:
            attributes[_RTA_GATEWAY] = GATEWAY.packed
            attributes[_RTA_OIF] = struct.pack("=i", index)
        elif rule.network == VIRTUAL:
            continue  # the gateway is in it; beside that the filter stops all
        kind = _UNICAST if rule.is_open else _PROHIBIT
        route = _ROUTE.pack(
            *(socket.AF_INET, rule.network.prefixlen, 0, 0),
            *(_MAIN_TABLE, _STATIC, 0, kind, 0),
        )
        yield _message(_RTM_NEWROUTE, _CREATE | _EXCL, route, attributes)


def _tell_kernel(messages: list[bytes]) -> None:
    with _rtnetlink() as netlink:
        for message in messages:
            netlink.send(message)
            _, payload = next(_replies(netlink))
            if payload[:4] != bytes(4):
                raise _error(payload, "a cell's network")


def _rtnetlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def _error(payload: bytes, what: str) -> OSError:
    number = -struct.unpack_from("=i", payload)[0]
    name = errno.errorcode.get(number, str(number))
    return OSError(number, f"{what}, rtnetlink: {os.strerror(number)} ({name})")


def _message(
    kind: int, flags: int, body: bytes, attributes: dict[int, bytes] | None = None
) -> bytes:
    for name, value in (attributes or {}).items():
        body += struct.pack("=HH", 4 + len(value), name) + value
        body += bytes(-len(body) % 4)
    wanted = _REQUEST | flags | (0 if flags & _DUMP == _DUMP else _ACK)
    return _HEADER.pack(_HEADER.size + len(body), kind, wanted, 0, 0) + body


def _replies(netlink: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Messages of the kernel: their kinds and payloads."""
    while True:
        data = netlink.recv(_MAX_REPLY)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            yield kind, data[_HEADER.size : length]
            data = data[length + -length % 4 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, name = struct.unpack_from("=HH", data)
        found[name] = data[4:length]
        data = data[max(4, length + -length % 4) :]
    return found
