"""The machine's UDP ports that a cell may have."""

import struct
from ipaddress import IPv4Address

import pytest

from sandlot_sandbox.launcher.network_ports import KEPT_S, MOST, UdpPorts
from sandlot_sandbox.launcher.networks import MAX_EGRESS
from sandlot_sandbox.launcher.resolver import MAX_WAITING

CELL, WORLD = IPv4Address("198.19.255.100"), IPv4Address("8.8.8.8")
TCP, UDP = 6, 17
MORE, SECOND_PART = 0x2000, 0x2000 | 185
PORTS_OF_LINUX = range(32_768, 61_000)
"""net.ipv4.ip_local_port_range, as it is unless somebody changes it."""


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ports(clock: Clock) -> UdpPorts:
    return UdpPorts(clock, most=3)


def sent(port: int, **given: int) -> bytes:
    return _frame(CELL, WORLD, port, 53, **given)


def given_back(port: int) -> bytes:
    return _frame(WORLD, CELL, 53, port)


def _frame(
    sender: IPv4Address,
    receiver: IPv4Address,
    source: int,
    destination: int,
    protocol: int = UDP,
    options: int = 0,
    part: int = 0,
    kind: int = 0x0800,
) -> bytes:
    ethernet = bytes(12) + kind.to_bytes(2, "big")
    ip = struct.pack(
        *("!BBHHHBBH4s4s", 0x45 + options, 0, 0, 0, part, 64, protocol, 0),
        *(sender.packed, receiver.packed),
    )
    return ethernet + ip + bytes(4 * options) + struct.pack("!HH", source, destination)


def test_all_cells_with_their_resolvers_leave_the_machine_some() -> None:
    taken = MAX_EGRESS * (MOST + MAX_WAITING)

    assert taken < 0.9 * len(PORTS_OF_LINUX)


def test_no_more_ports_than_it_may_have_get_out(ports: UdpPorts) -> None:
    out = [port for port in range(1, 1_000) if ports.lets_out(sent(port))]

    assert out == [1, 2, 3]
    assert ports.lets_out(sent(2)), "those that it has are its own"


def test_options_and_large_datagrams_do_not_hide_a_port(ports: UdpPorts) -> None:
    assert all(ports.lets_out(sent(port, options=10)) for port in (1, 2, 3))

    assert not ports.lets_out(sent(4, options=10))
    assert not ports.lets_out(sent(4, part=MORE))
    assert ports.lets_out(sent(1, part=MORE))


@pytest.mark.parametrize(
    "other", [{"protocol": TCP}, {"kind": 0x0806}, {"part": SECOND_PART}]
)
def test_what_has_no_port_of_udp_is_nothing_to_it(
    ports: UdpPorts, other: dict[str, int]
) -> None:
    assert all(ports.lets_out(sent(port, **other)) for port in range(100))

    assert len(ports) == 0


def test_a_port_is_another_s_when_it_is_kept_no_more(
    ports: UdpPorts, clock: Clock
) -> None:
    for port in (1, 2, 3):
        ports.lets_out(sent(port))
    clock.now_s += KEPT_S - 1
    ports.lets_out(sent(1))
    clock.now_s += 1

    assert ports.lets_out(sent(4))
    assert ports.lets_out(sent(5))
    assert not ports.lets_out(sent(6)), "the first was used a second ago"


def test_a_port_is_kept_by_what_comes_in_as_well(ports: UdpPorts, clock: Clock) -> None:
    """Else somebody outside would keep all that a cell has ever had."""
    for port in (1, 2, 3):
        ports.lets_out(sent(port))
    clock.now_s += KEPT_S - 1
    for port in (1, 2, 3, 9):
        ports.note_in(given_back(port))
    clock.now_s += 1

    assert not ports.lets_out(sent(4))
    assert len(ports) == 3


@pytest.mark.parametrize("size", range(40))
def test_what_is_cut_off_harms_nobody(ports: UdpPorts, size: int) -> None:
    ports.lets_out(sent(1)[:size])
    ports.note_in(given_back(1)[:size])
