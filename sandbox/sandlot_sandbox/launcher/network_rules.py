"""Where an egress cell may send packets, as values: no system call is made here.

One list of networks, the longest prefix first; the first that holds an address decides.
From it come the packet filter that holds, the routes that make a refusal quick and
plain, and what the resolver leaves out of its answers.

The filter and not the routes, because any process may tie a socket to a device
(SO_BINDTODEVICE, IP_PKTINFO), and for such a socket Linux takes a destination without
a usable route to be on the link: `prohibit` does not stop it.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network

MAX_RULES = 400
"""A socket's filter may take 20 KB of kernel memory, four instructions for a rule."""

VIRTUAL = IPv4Network("198.19.255.0/24")
"""Between cell and slirp4netns, seen by nobody else. From the range for benchmarks, so
that no private network that is opened can lie behind it."""

GATEWAY = VIRTUAL[2]
CELL = VIRTUAL[100]
"""The addresses that slirp4netns gives to itself and to its guest."""

_NEVER = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "127.0.0.0/8",  # loopback
        str(VIRTUAL),  # of it, slirp4netns takes some for the host's loopback
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
"""What no list of allowed networks opens."""

BLOCKED = _NEVER + tuple(
    IPv4Network(network)
    for network in (
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and clouds' inner networks
        "168.63.129.16/32",  # Azure's metadata besides, with a public address
        "169.254.0.0/16",  # link-local, and clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
    )
)
"""What is blocked unless it is allowed."""

_EVERYTHING = IPv4Network("0.0.0.0/0")


class TooManyRules(Exception):
    """A machine with so many addresses of its own that they fit into no filter."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`is_open` is true for what may be reached."""

    network: IPv4Network
    is_open: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """The longest prefix first, everything last."""

    rules: tuple[Rule, ...]

    def reach(self, address: IPv4Address) -> bool:
        """Whether a packet to `address` gets out of the cell."""
        return next(r.is_open for r in self.rules if address in r.network)


def make_rules(allow: Iterable[str], own: Iterable[IPv4Network]) -> Rules:
    """The rules of one cell. Raises `ValueError` for what is no network.

    `own` is what the machine takes for itself. It is open only if `allow` has it as
    precisely: the network that the machine is in does not open the machine. Networks
    of IPv6 change nothing; cells have none.
    """
    verdicts = {_EVERYTHING: True}
    verdicts.update(dict.fromkeys([*BLOCKED, *own], False))
    verdicts.update(dict.fromkeys(_that_can_be_opened(allow), True))
    verdicts.update(dict.fromkeys(_NEVER, False))
    rules = [Rule(*verdict) for verdict in verdicts.items()]
    rules.sort(key=lambda rule: (-rule.network.prefixlen, rule.network))
    needed = [r for i, r in enumerate(rules) if _changes_something(r, rules[i + 1 :])]
    if len(needed) > MAX_RULES:
        raise TooManyRules(
            f"{len(needed)} networks to tell apart, of {MAX_RULES} that fit into a"
            " packet filter: this machine has too many addresses"
        )
    return Rules(tuple(needed))


def _that_can_be_opened(allow: Iterable[str]) -> Iterable[IPv4Network]:
    for text in allow:
        network = ip_network(text)
        if isinstance(network, IPv4Network) and not any(
            network.subnet_of(never) for never in _NEVER
        ):
            yield network


def _changes_something(rule: Rule, shorter: list[Rule]) -> bool:
    around = (r.is_open for r in shorter if rule.network.subnet_of(r.network))
    return next(around, None) is not rule.is_open


_ETHERTYPE, _DESTINATION = 12, 30
"""Where they are in a frame: a cell's packets have no VLAN tag, and the address comes
before all that varies in an IPv4 header."""

_IPV4, _ARP = 0x0800, 0x0806
_LOAD_HALF, _LOAD_WORD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x28, 0x20, 0x54, 0x15, 0x06
_WHOLE, _NOTHING = 0xFFFFFFFF, 0


def packet_filter(rules: Rules) -> bytes:
    """A classic BPF program for what leaves a cell: its frames, whole or not at all.

    ARP passes: slirp4netns answers it, for `VIRTUAL` alone. IPv6 does not.
    """
    code = [
        (_LOAD_HALF, 0, 0, _ETHERTYPE),
        (_JUMP_IF_EQUAL, 0, 1, _ARP),
        (_RETURN, 0, 0, _WHOLE),
        (_JUMP_IF_EQUAL, 1, 0, _IPV4),
        (_RETURN, 0, 0, _NOTHING),
    ]
    for rule in rules.rules:
        code += [
            (_LOAD_WORD, 0, 0, _DESTINATION),
            (_AND, 0, 0, int(rule.network.netmask)),
            (_JUMP_IF_EQUAL, 0, 1, int(rule.network.network_address)),
            (_RETURN, 0, 0, _WHOLE if rule.is_open else _NOTHING),
        ]
    code.append((_RETURN, 0, 0, _NOTHING))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
