"""Network egress: cells reach public addresses, and no others, whatever they try.

In an internet of its own (`internet.py`): a machine, and what is behind its only cable,
in network namespaces that end with the test.
"""

from pathlib import Path

import pytest

from sandlot_sandbox.launcher.network_ports import MOST
from tests.fakes import dns
from tests.isolation import steps
from tests.isolation.egress import (
    NOT_FOR_CELLS,
    REFUSED,
    UNHEARD,
    Cell,
    World,
)
from tests.isolation.faults import INJECTED, Step
from tests.isolation.internet import (
    GATEWAY,
    MACHINE,
    METADATA,
    PRIVATE,
    PUBLIC,
    ROUTER,
    UNHEARD_S,
)

pytestmark = pytest.mark.usefixtures("an_internet")


OF_SLIRP = frozenset(("_become_slirp", "_lower", "_give_up_privileges"))
"""What slirp4netns' process does before it is that; nobody hears more than its end."""


@pytest.mark.parametrize("step", steps.EGRESS, ids=lambda step: step.name)
def test_no_cell_gets_a_way_out_that_lacks_a_step(world: World, step: Step) -> None:
    seen = world.order("fail", step=step.order)

    assert INJECTED in seen["trouble"] or (
        step.function in OF_SLIRP and seen["trouble"]
    )
    assert seen["devices"] == ["lo"]
    assert seen["left"] == {"files": 0, "processes": 0}


def test_public_addresses_are_reached(cell: Cell) -> None:
    found = [cell(kind, address=PUBLIC) for kind in ("tcp", "udp")]

    assert found == ["ok", "ok"]


def test_large_streams_and_datagrams_arrive_whole(cell: Cell) -> None:
    assert cell("tcp", address=PUBLIC, size=5 << 20) == "ok"
    assert cell("udp", address=PUBLIC, size=60_000) == "ok"


def test_many_connections_that_others_close_do_not_end_a_cell(world: World) -> None:
    cell = world.open()

    assert cell("farewells", address=PUBLIC, count=900) == "ok"
    assert cell("tcp", address=PUBLIC) == "ok"


@pytest.mark.parametrize("address", NOT_FOR_CELLS)
def test_what_the_machine_reaches_a_cell_does_not(
    world: World, cell: Cell, address: str
) -> None:
    assert world.here("tcp", address=address) == "ok"
    assert world.here("udp", address=address) == "ok"

    assert cell("tcp", address=address) == REFUSED
    assert cell("udp", address=address) == REFUSED


@pytest.mark.parametrize("address", NOT_FOR_CELLS)
def test_no_socket_option_leads_around_the_filter(cell: Cell, address: str) -> None:
    """Tied to a device, a socket needs no route. Only the filter is left then."""
    tied = {"address": address, "device": "eth0", "wait_s": UNHEARD_S}
    assert cell("tcp", **tied) == UNHEARD
    assert cell("udp", **tied) == UNHEARD
    named = {"address": address, "wait_s": UNHEARD_S}
    assert cell("udp_by_packet_info", **named) == UNHEARD

    assert cell("udp_by_packet_info", address=PUBLIC) == "ok"


def test_a_cell_takes_no_places_among_the_machine_s_neighbours(cell: Cell) -> None:
    assert cell("look_for_neighbours", count=300) == []
    assert cell("tcp", address=PUBLIC) == "ok"


def test_a_cell_takes_only_so_many_of_the_machine_s_udp_ports(
    world: World, cell: Cell
) -> None:
    greedy = world.open()

    assert greedy("from_many_ports", address=PUBLIC, count=400) == "ok"
    assert greedy("tcp", address=PUBLIC) == "ok"  # so what came before is through
    sockets = len(list(Path(f"/proc/{greedy.slirp}/fd").iterdir()))

    assert MOST < sockets < 2 * MOST
    assert cell("udp", address=PUBLIC) == "ok"
    greedy.order("end_cell")


@pytest.mark.parametrize(
    "address",
    [GATEWAY, "198.19.255.3", "127.0.0.1", "0.0.0.0"],  # noqa: S104 - to connect to
)
@pytest.mark.parametrize("device", ["", "eth0"])
def test_the_machines_loopback_is_not_reached(
    world: World, cell: Cell, address: str, device: str
) -> None:
    assert world.here("tcp", address="127.0.0.1") == "ok"

    tried = {"address": address, "device": device, "wait_s": UNHEARD_S}
    assert cell("tcp", **tried) != "ok"
    assert cell("udp", **tried) != "ok"


def test_multicast_does_not_leave_the_cell(cell: Cell) -> None:
    assert cell.order("hear_multicast", sender="machine") == ["hello"]

    assert cell.order("hear_multicast", sender="cell") == []


def test_there_is_no_ipv6(cell: Cell) -> None:
    assert cell("tcp6", address="2001:db8::1") == "ENETUNREACH"


def test_a_process_in_the_cell_cannot_change_its_network(cell: Cell) -> None:
    found = cell("change_network")

    assert set(found.values()) == {"EPERM"}, found
    assert cell("devices") == ["eth0", "lo"]


def test_an_allowed_network_is_open_and_nothing_beside_it(world: World) -> None:
    cell = world.open("10.9.0.0/24", "2001:db8::/32")

    assert cell("tcp", address=PRIVATE) == "ok"
    assert cell("udp", address=PRIVATE) == "ok"
    assert cell("tcp", address=METADATA) == REFUSED
    assert cell("look_up", name="rebind.test") == [PRIVATE]

    cell.order("end_cell")


def test_metadata_is_open_when_it_is_named(world: World) -> None:
    cell = world.open("169.254.169.254/32")

    assert cell("tcp", address=METADATA) == "ok"

    cell.order("end_cell")


def test_the_machine_is_open_only_when_it_is_named(world: World) -> None:
    around = world.open("192.168.50.0/24")
    named = world.open("192.168.50.2/32", "127.0.0.0/8", "198.19.255.0/24")

    assert around("tcp", address=ROUTER) == "ok"
    assert around("tcp", address=MACHINE) == REFUSED
    assert named("tcp", address=MACHINE) == "ok"
    assert named("tcp", address=GATEWAY, wait_s=UNHEARD_S) == UNHEARD

    around.order("end_cell")
    named.order("end_cell")


def test_allowing_everything_opens_nothing_that_is_blocked(world: World) -> None:
    cell = world.open("0.0.0.0/0")

    assert cell("tcp", address=PRIVATE) == REFUSED
    assert cell("tcp", address=MACHINE) == REFUSED

    cell.order("end_cell")


def test_names_are_found(cell: Cell) -> None:
    assert cell("look_up", name="public.test") == [PUBLIC]
    assert cell("look_up", name="nowhere.test") == "EAI -2"


def test_a_name_never_leads_to_what_is_blocked(world: World, cell: Cell) -> None:
    assert world.here("look_up", name="rebind.test") == [PRIVATE]

    for name in ("rebind", "loop", "metadata", "machine", "six"):
        assert cell("look_up", name=f"{name}.test") == "EAI -5"
    assert cell("look_up", name="mixed.test") == [PUBLIC]


def test_other_records_than_addresses_are_passed_on(cell: Cell) -> None:
    (answer,) = cell("ask_dns", query=dns.question("text.test", dns.TXT).hex())

    assert dns.read(bytes.fromhex(answer)) == (0, [(dns.TXT, b"\x05hello")])


def test_what_no_function_needs_to_ask_is_refused(cell: Cell) -> None:
    refused = 5
    for kind in (dns.AXFR, dns.ANY):
        (answer,) = cell("ask_dns", query=dns.question("public.test", kind).hex())
        assert dns.read(bytes.fromhex(answer)) == (refused, [])


def test_a_flood_of_questions_is_cut_and_harms_nobody(world: World, cell: Cell) -> None:
    flooding = world.open()
    query = dns.question("text.test", dns.TXT).hex()

    answered = flooding("ask_dns", query=query, copies=5000, wait_s=0.5)

    assert 0 < len(answered) < 1000
    assert cell("look_up", name="public.test") == [PUBLIC]
    flooding.order("end_cell")


def test_a_nameserver_that_is_silent_is_given_up(cell: Cell) -> None:
    query = dns.question("mute.test").hex()
    (answer,) = cell("ask_dns", query=query, wait_s=8.0)

    server_failure = 2
    assert dns.read(bytes.fromhex(answer)) == (server_failure, [])


def test_malformed_questions_are_not_answered(cell: Cell) -> None:
    for query in ("00", "ff" * 12, dns.question("a.b").hex() + "00", "c00c" * 40):
        assert cell("ask_dns", query=query, wait_s=0.1) == []
    assert cell("look_up", name="public.test") == [PUBLIC]
