"""Hostile programs on the network: nobody is there but the instance itself."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.isolation.aftermath import Arena, Either, Only, arena, attacked, instance_of
from tests.isolation.machine import Guest, Sandbox, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

Servers = dict[str, Any]
"""Where the host listens: TCP and UDP ports, an abstract name."""

NOWHERE = ["ENETUNREACH"]

NETWORK = {
    "reach_a_server_of_the_host": ["ECONNREFUSED"],
    "send_to_a_server_of_the_host": "ECONNREFUSED",
    "reach_an_abstract_socket_of_the_host": ["ECONNREFUSED"],
    "take_an_abstract_name_of_the_host": "ok",
    "list_sockets_of_the_host": [],
    "reach_path_sockets_of_the_host": ["ENOENT"],
    "reach_metadata_services": Only("ENETUNREACH", "EADDRNOTAVAIL"),
    "reach_private_networks": NOWHERE,
    "reach_the_internet": NOWHERE,
    "reach_everybody": Only("ENETUNREACH", "EADDRNOTAVAIL"),
    "ask_for_names": "no such name",
    "open_other_families": ["ENOSYS"],
    "open_families_with_high_bits": ["ENOSYS"],
    "open_pairs_of_other_families": Only("ENOSYS", "EOPNOTSUPP"),
    "configure_the_network": ["ENOSYS"],
    "use_the_packet_filter": Only("EPERM", "ENOPROTOOPT", "ENOSYS"),
    "use_privileged_options": Only("EPERM", "EACCES", "ENOSYS"),
    "attach_programs_that_filter": ["ENOSYS"],
    "have_answers_lost": ["ENOSYS"],
    "keep_what_is_half_open": False,
    "keep_what_came_back": "EAGAIN",
    "join_groups_without_end": ["ENOSYS"],
    "load_protocols_on_demand": False,
    "ask_who_the_engine_is": [0, True, True],
    "signal_the_engine": Only("EINVAL", "EPERM", "EBADF", "ENOSYS", "ENOPROTOOPT"),
    "read_the_engine_s_handle": Either([0], [-1], []),
    "ask_to_be_told_who_writes": "asked",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """What the host itself listens on."""
    name = f"sandlot-hostile-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        abstract.bind("\0" + name)
        abstract.listen()
        yield {
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": name,
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(
    sandbox: Sandbox, curious: Guest, servers: Servers
) -> AsyncIterator[Arena]:
    """After the servers, as it counts what is open before and after it."""
    async with arena(sandbox, curious, "hostile/network") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), NETWORK.items())
async def test_nobody_is_reached(
    jail: Arena, servers: Servers, program: str, expected: object
) -> None:
    got = await jail.play(program, **servers)

    assert got == expected


async def test_a_sibling_s_port_is_not_there(sandbox: Sandbox, curious: Guest) -> None:
    async with attacked(sandbox, curious, "hostile/network") as guest:
        server, sibling = await instance_of(guest), await guest.fork()

        assert await ask(server, "serve") == "serving"
        assert await ask(sibling, "reach_a_sibling_s_port") == "ECONNREFUSED"
        assert await ask(sibling, "serve") == "serving"
