"""A prototype of what decision 0010 rejects: egress by the kernel's NAT, as root.

    cell ── veth ── router, a namespace of the launcher's ── veth ── machine ── world
    cell ── veth ── machine ── world                       (`Nat.in_machine`)

It is here to be measured and is no part of the product: no tenant's allowed networks,
no limit on a cell's connections, no DNS. Only ever in network namespaces that were made
for it: `expect_own_namespace` refuses the machine's own.
"""

import os
import socket
import struct
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from sandlot_sandbox import linux
from sandlot_sandbox.launcher.network_rules import BLOCKED

MACHINE_SIDE, ROUTER_SIDE = "192.168.51.1", "192.168.51.2"
CELLS = IPv4Network("198.18.0.0/16")
"""Two addresses for each cell: the router's, and its own."""

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24
_REQUEST_ACK, _CREATE = 0x5, 0x600
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_UP = 0x1

_RULES = """
table inet sandlot {{
  set closed {{
    type ipv4_addr; flags interval; auto-merge
    elements = {{ {closed} }}
  }}
  chain forward {{
    type filter hook forward priority filter; policy {policy};
    ct state established,related accept
    iifname "c*" ip daddr @closed reject with icmp type admin-prohibited
    iifname "c*" fib saddr . iif oif missing drop
    iifname "c*" oifname "{uplink}" meta nfproto ipv4 meta l4proto {{ tcp, udp }} accept
    iifname "c*" drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "c*" drop
  }}
  chain leave {{
    type nat hook postrouting priority srcnat;
    ip saddr {cells} oifname "{uplink}" masquerade
  }}
}}
"""

_MACHINE_RULES = """
table inet sandlot {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "mr0" drop
  }}
  chain leave {{
    type nat hook postrouting priority srcnat;
    ip saddr {router} oifname "m0" masquerade
  }}
}}
"""

_FIREWALL = """
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""
"""What Docker and firewalld lay down: forwarded is what they know."""


def _namespace() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


_FIRST = _namespace()
"""That this was imported in: somebody else's."""


def expect_own_namespace() -> None:
    """Raises `RuntimeError` in the network namespace that we were started in."""
    if _namespace() == _FIRST:
        raise RuntimeError("this network namespace was not made to be measured")


class Nat:
    """Routes for cells out of the namespace that we are in, by its device `m0`.

    `in_machine`: by rules in that namespace, without a router's.
    """

    def __init__(self, own: list[IPv4Network], *, in_machine: bool) -> None:
        expect_own_namespace()
        self._here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        closed = sorted({*BLOCKED, *own})
        uplink = "m0" if in_machine else "up0"
        rules = _RULES.format(
            closed=", ".join(map(str, closed)),
            cells=CELLS,
            uplink=uplink,
            policy="accept" if in_machine else "drop",
        )
        set_forwarding(on=True)
        if in_machine:
            nft(rules)
            self._router = self._here
        else:
            nft(_MACHINE_RULES.format(router=ROUTER_SIDE))
            self._router = self._make_router(rules)
        with _Inside(self._router, self._here):
            self._netlink = rtnetlink()
        self._number = 0
        self._pool: list[tuple[int, str]] = []

    def _make_router(self, rules: str) -> int:
        linux.unshare(linux.CLONE_NEWNET)
        router = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        linux.raise_loopback()
        linux.setns(self._here, linux.CLONE_NEWNET)
        with rtnetlink() as netlink:
            add_pair(netlink, "mr0", "up0", router)
            _configure(netlink, "mr0", MACHINE_SIDE, 30)
        with _Inside(router, self._here):
            with rtnetlink() as netlink:
                _configure(netlink, "up0", ROUTER_SIDE, 30)
                _default_route(netlink, MACHINE_SIDE)
            set_forwarding(on=True)
            nft(rules)
        return router

    def fill_pool(self, n: int) -> None:
        """Pairs whose one end is a cell's later."""
        for _ in range(n):
            number, address = self._next()
            add_pair(self._netlink, f"c{number}", f"p{number}", None)
            _configure(self._netlink, f"c{number}", str(address), 31)
            self._pool.append((number, str(address + 1)))

    def give(self, cell: int, *, from_pool: bool) -> int:
        """The cell's namespace has a way out; the number is for `take_back`."""
        if from_pool:
            number, own = self._pool.pop()
            _move(self._netlink, f"p{number}", cell)
        else:
            number, address = self._next()
            own = str(address + 1)
            add_pair(self._netlink, f"c{number}", "eth0", cell)
            _configure(self._netlink, f"c{number}", str(address), 31)
        with _Inside(cell, self._here), rtnetlink() as netlink:
            _configure(netlink, "eth0", own, 31)
            _default_route(netlink, str(IPv4Address(own) - 1))
        return number

    def take_back(self, number: int) -> None:
        """The device, without waiting for the end of the cell's namespace."""
        body = _link(f"c{number}", 0, 0)
        _tell(self._netlink, _DELLINK, 0, body)

    def _next(self) -> tuple[int, IPv4Address]:
        self._number += 1
        return self._number, CELLS[2 * self._number]


def nft(rules: str) -> None:
    expect_own_namespace()
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)  # noqa: S607


def add_firewall() -> None:
    """As Docker's or firewalld's, in the namespace we are in."""
    nft(_FIREWALL)


def remove_firewall() -> None:
    nft("delete table ip filter")


def set_forwarding(*, on: bool) -> None:
    """Of the whole namespace that we are in."""
    expect_own_namespace()
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1" if on else "0")


def forget_closed_connections() -> None:
    """In the namespace that we are in, at once rather than after a minute: thousands
    to one address would run out of ports, soonest where two paths share them."""
    expect_own_namespace()
    Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("0")


class _Inside:
    """A network namespace, for the length of a block."""

    def __init__(self, namespace: int, back: int) -> None:
        self._namespace = namespace
        self._back = back

    def __enter__(self) -> None:
        linux.setns(self._namespace, linux.CLONE_NEWNET)

    def __exit__(self, *_: object) -> None:
        linux.setns(self._back, linux.CLONE_NEWNET)


def rtnetlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def _tell(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    length = 16 + len(body)
    netlink.send(struct.pack("=IHHII", length, kind, _REQUEST_ACK | flags, 0, 0) + body)
    (error,) = struct.unpack_from("=i", netlink.recv(65536), 16)
    if error:
        raise OSError(-error, f"rtnetlink {kind}: {os.strerror(-error)}")


def _attribute(name: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), name) + value + bytes(-len(value) % 4)


def _link(name: str, flags: int, change: int) -> bytes:
    header = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, flags, change)
    return header + _attribute(_IFLA_IFNAME, name.encode() + b"\0")


def add_pair(netlink: socket.socket, name: str, peer: str, target: int | None) -> None:
    other = _link(peer, 0, 0)
    if target is not None:
        other += _attribute(_IFLA_NET_NS_FD, struct.pack("=i", target))
    data = _attribute(_INFO_DATA, _attribute(_VETH_PEER, other))
    info = _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"veth\0") + data)
    _tell(netlink, _NEWLINK, _CREATE, _link(name, 0, 0) + info)


def _move(netlink: socket.socket, name: str, target: int) -> None:
    header = struct.pack("=BxHiII", 0, 0, _index(netlink, name), 0, 0)
    body = header + _attribute(_IFLA_NET_NS_FD, struct.pack("=i", target))
    _tell(netlink, _NEWLINK, 0, body + _attribute(_IFLA_IFNAME, b"eth0\0"))


def _index(netlink: socket.socket, name: str) -> int:
    """Of a device in the namespace that `netlink` was opened in."""
    body = _link(name, 0, 0)
    netlink.send(struct.pack("=IHHII", 16 + len(body), 18, 1, 0, 0) + body)
    reply = netlink.recv(65536)
    kind, index = struct.unpack_from("=4xH14xi", reply)
    if kind != _NEWLINK:
        raise OSError(f"there is no device {name}")
    return int(index)


def _configure(netlink: socket.socket, name: str, address: str, length: int) -> None:
    index = _index(netlink, name)
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBi", socket.AF_INET, length, 0, 0, index)
    body += _attribute(2, packed) + _attribute(1, packed)
    _tell(netlink, _NEWADDR, _CREATE, body)
    _tell(netlink, _NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, _UP, _UP))


def _default_route(netlink: socket.socket, gateway: str) -> None:
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 4, 0, 1, 0)
    body += _attribute(5, socket.inet_aton(gateway))
    _tell(netlink, _NEWROUTE, _CREATE, body)
