"""Where an egress cell may send packets: one list, and the filter made of it."""

import struct
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_sandbox.launcher.network_rules import (
    BLOCKED,
    CELL,
    GATEWAY,
    MAX_RULES,
    VIRTUAL,
    Rules,
    TooManyRules,
    make_rules,
    packet_filter,
)

OWN = [IPv4Network("93.184.216.99/32"), IPv4Network("192.168.50.2/32")]
WHOLE, NOTHING = 0xFFFFFFFF, 0
IPV4, ARP, IPV6, VLAN = 0x0800, 0x0806, 0x86DD, 0x8100

networks = st.builds(
    lambda address, length: str(IPv4Network((address, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
addresses = st.one_of(
    st.integers(0, 2**32 - 1),
    st.builds(
        lambda network, offset: (int(network.network_address) + offset) % 2**32,
        st.sampled_from([*BLOCKED, *OWN]),
        st.integers(-2, 2),
    ),
).map(IPv4Address)


def reach(rules: Rules, address: str) -> bool:
    return rules.reach(IPv4Address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "223.255.255.255"])
def test_public_addresses_are_open(address: str) -> None:
    assert reach(make_rules([], OWN), address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1"),  # noqa: S104
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8"),
        *("192.168.0.1", "198.18.0.1", "224.0.0.251", "239.255.255.250"),
        "168.63.129.16",
        *("240.0.0.1", "255.255.255.255", "93.184.216.99", str(GATEWAY), str(CELL)),
    ],
)
def test_other_addresses_are_blocked(address: str) -> None:
    assert not reach(make_rules([], OWN), address)


@pytest.mark.parametrize("address", ["172.15.255.255", "172.32.0.0", "11.0.0.0"])
def test_what_lies_beside_a_blocked_network_is_open(address: str) -> None:
    assert reach(make_rules([], OWN), address)


def test_an_allowed_network_is_open_and_its_neighbours_are_not() -> None:
    rules = make_rules(["10.1.0.0/16"], OWN)

    assert reach(rules, "10.1.255.255")
    assert not reach(rules, "10.2.0.0")


def test_half_of_a_blocked_network_can_be_allowed() -> None:
    rules = make_rules(["198.18.0.0/16"], OWN)

    assert reach(rules, "198.18.255.255")
    assert not reach(rules, "198.19.0.0")


def test_the_machine_is_open_only_by_its_own_address() -> None:
    around = make_rules(["192.168.50.0/24"], OWN)
    exactly = make_rules(["192.168.50.2/32"], OWN)

    assert reach(around, "192.168.50.1")
    assert not reach(around, "192.168.50.2")
    assert reach(exactly, "192.168.50.2")
    assert not reach(exactly, "192.168.50.1")


def test_metadata_is_open_only_if_a_network_around_it_is_named() -> None:
    assert reach(make_rules(["169.254.0.0/16"], OWN), "169.254.169.254")
    assert reach(make_rules(["169.254.169.254/32"], OWN), "169.254.169.254")
    assert not reach(make_rules(["0.0.0.0/0"], OWN), "169.254.169.254")


@pytest.mark.parametrize("never", ["127.0.0.1/32", "0.0.0.0/8", "224.0.0.0/4"])
def test_some_networks_are_never_open(never: str) -> None:
    assert not reach(make_rules([never], OWN), never.partition("/")[0])


def test_the_network_of_slirp4netns_is_never_open() -> None:
    rules = make_rules([str(VIRTUAL), f"{GATEWAY}/32", "198.18.0.0/15"], OWN)

    assert not reach(rules, str(GATEWAY))
    assert reach(rules, "198.18.0.1")


def test_networks_of_ipv6_change_nothing() -> None:
    assert make_rules(["fd00::/8", "::/0"], OWN) == make_rules([], OWN)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "ten", "", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        make_rules([text], OWN)


def test_own_addresses_that_are_blocked_anyway_take_no_room() -> None:
    many = [IPv4Network((10 << 24 | n, 32)) for n in range(MAX_RULES * 2)]

    assert make_rules([], many) == make_rules([], [])


def test_more_rules_than_a_filter_can_hold_are_refused() -> None:
    many = [IPv4Network((20 << 24 | n * 2, 32)) for n in range(MAX_RULES)]
    room = MAX_RULES - len(make_rules([], []).rules)

    assert len(make_rules([], many[:room]).rules) == MAX_RULES
    with pytest.raises(TooManyRules, match=f"of {MAX_RULES} that fit"):
        make_rules([], many[: room + 1])


@given(st.lists(networks, max_size=8), addresses)
def test_nothing_but_what_is_allowed_gets_out(
    allow: list[str], address: IPv4Address
) -> None:
    """Said without prefixes: an address is open if nothing blocks it, or if what was
    allowed is at least as precise as what blocks it."""
    rules = make_rules(allow, OWN)

    around = [n.prefixlen for n in (*BLOCKED, *OWN) if address in n]
    named = [n.prefixlen for n in map(IPv4Network, allow) if address in n]
    never = any(
        address in IPv4Network(n)
        for n in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", VIRTUAL)
    )
    is_open = max(named, default=-1) >= max(around, default=-1) and not never
    assert rules.reach(address) is (is_open or not around)


@given(st.lists(networks, max_size=8), addresses)
def test_the_filter_decides_as_the_rules_do(
    allow: list[str], address: IPv4Address
) -> None:
    rules = make_rules(allow, OWN)

    verdict = run(packet_filter(rules), frame(IPV4, address))

    assert verdict == (WHOLE if rules.reach(address) else NOTHING)


def test_the_filter_decides_so_at_every_edge() -> None:
    rules = make_rules(["10.1.0.0/16"], OWN)
    edges = {
        IPv4Address((int(address) + offset) % 2**32)
        for rule in rules.rules
        for address in (rule.network[0], rule.network[-1])
        for offset in (-1, 0, 1)
    }
    program = packet_filter(rules)

    passing = {each for each in edges if run(program, frame(IPV4, each)) == WHOLE}

    assert passing == {each for each in edges if rules.reach(each)}


@pytest.mark.parametrize(
    ("ethertype", "verdict"), [(ARP, WHOLE), (IPV6, NOTHING), (VLAN, NOTHING)]
)
def test_of_other_protocols_only_arp_passes(ethertype: int, verdict: int) -> None:
    program = packet_filter(make_rules([], OWN))

    assert run(program, frame(ethertype, IPv4Address("1.1.1.1"))) == verdict


@given(st.integers(0, 33))
def test_a_frame_that_is_cut_off_does_not_pass(size: int) -> None:
    whole = frame(IPV4, IPv4Address("1.1.1.1"))

    assert run(packet_filter(make_rules([], OWN)), whole[:size]) == NOTHING


def frame(ethertype: int, to: IPv4Address) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20, 0, 0, 64, 17, 0, CELL.packed, b""
    )
    return bytes(12) + struct.pack("!H", ethertype) + header[:16] + to.packed


def run(program: bytes, packet: bytes) -> int:
    """What the kernel does: a load from beyond the packet lets nothing pass."""
    code = list(struct.iter_unpack("=HBBI", program))
    at, accumulator = 0, 0
    for _ in range(len(code)):
        operation, if_true, if_false, k = code[at]
        at += 1
        match operation:
            case 0x28 | 0x20:  # LD H ABS, LD W ABS
                size = 2 if operation == 0x28 else 4
                if k + size > len(packet):
                    return NOTHING
                accumulator = int.from_bytes(packet[k : k + size], "big")
            case 0x54:  # ALU AND K
                accumulator &= k
            case 0x15:  # JMP JEQ K
                at += if_true if accumulator == k else if_false
            case 0x06:  # RET K
                return int(k)
            case _:
                raise AssertionError(f"instruction {operation:#x}")
    raise AssertionError("it does not end")
