"""Network egress: cells reach public addresses, and no others, whatever they try.

In an internet of its own (`internet.py`): a machine, and what is behind its only cable,
in network namespaces that end with the test.
"""

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandlot_sandbox.host.recipe import Recipe
from sandlot_sandbox.host.zygote import Zygote
from sandlot_sandbox.launcher import networks
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import EGRESS, IMAGE, NONE
from tests.fakes import dns
from tests.fakes.images import image_of, layer
from tests.isolation import steps
from tests.isolation.faults import INJECTED, Step
from tests.isolation.images import AS_IT_SAYS, built, python
from tests.isolation.internet import (
    GATEWAY,
    MACHINE,
    METADATA,
    PORT,
    PRIVATE,
    PUBLIC,
    ROUTER,
    SECOND_OF_MACHINE,
    SHARED,
    UNHEARD_S,
)
from tests.isolation.machine import (
    GUESTS,
    ORDINARY_UID,
    RUNTIME,
    Guest,
    Sandbox,
    Store,
    ask,
    descendants,
    kernel_facts,
    started,
    wait_gone,
)

WAIT_S = 20.0
NOT_FOR_CELLS = (PRIVATE, METADATA, SHARED, ROUTER, MACHINE, SECOND_OF_MACHINE)
REFUSED = "EACCES"
UNHEARD = "timeout"


def _missing() -> str:
    if os.geteuid() != 0:
        return "an internet of one's own takes root"
    if shutil.which("ip") is None:
        return "there is no ip: install iproute2"
    return networks.probe_egress()


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing())


class World:
    """The machine and its internet, and one cell in it after the other."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.isolation.internet", mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._cell = 0
        try:
            assert self._hear() == "ready"
        except BaseException:
            self.close()
            raise

    def order(self, order: str, /, **arguments: Any) -> Any:
        self.tell(order, **arguments)
        return self._hear()

    def tell(self, order: str, /, **arguments: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"order": order, **arguments}) + "\n")
        self.process.stdin.flush()

    def _hear(self) -> Any:
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        assert ready, "the machine says nothing"
        return json.loads(self.process.stdout.readline())

    def here(self, what: str, /, **arguments: Any) -> Any:
        """Tried by the machine itself."""
        return self.order("try_here", what=what, arguments=arguments)

    def open(self, *allow: str) -> "Cell":
        self._cell += 1
        return Cell(self, self._cell, allow)

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(WAIT_S)


class Cell:
    """A cell with a way out."""

    def __init__(self, world: World, number: int, allow: tuple[str, ...]) -> None:
        self._world = world
        self.number = number
        self.facts = world.order("open", cell=number, allow=allow)
        assert self.facts["trouble"] == ""

    def __call__(self, what: str, /, **arguments: Any) -> Any:
        """Tried by a process in the cell."""
        return self.order("ask", what=what, arguments=arguments)

    def order(self, order: str, /, **arguments: Any) -> Any:
        return self._world.order(order, cell=self.number, **arguments)

    @property
    def relay(self) -> int:
        pid: int = self.facts["pid"]
        return pid

    @property
    def slirp(self) -> int:
        """The relay's only child. It forks once itself, to accept the relay's
        connection, and that child may still be there when the way out is ready."""
        return descendants(self.relay)[0]


@pytest.fixture(scope="module", params=["root", "rootless"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cell(world: World) -> Iterator[Cell]:
    """One that was allowed nothing; for tests that leave it as it is."""
    made = world.open()
    yield made
    made.order("end_cell")


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


def test_the_processes_beside_a_cell_hold_no_privilege(
    world: World, cell: Cell
) -> None:
    for pid in (cell.relay, cell.slirp):
        facts = kernel_facts(pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(facts[name], 16) == 0, (name, facts[name])
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        uid = networks.EGRESS_UID if world.mode == "root" else ORDINARY_UID
        assert facts["Uid"].split() == [str(uid)] * 4
        assert facts["Gid"].split() == [str(uid)] * 4
        root = Path(f"/proc/{pid}/root")
        assert {p.name for p in root.iterdir()} <= {
            *("bin", "etc", "lib", "lib32", "lib64", "old", "run", "usr"),
        }
        assert [p.name for p in (root / "etc").iterdir()] == ["ld.so.cache"]
        assert _descriptor(pid, 0) == "/dev/null"
        assert list((root / "run").iterdir()) == []


def test_slirp4netns_is_not_in_the_cell_and_sees_no_other_process(cell: Cell) -> None:
    slirp = cell.slirp

    assert _namespace(slirp, "net") != _namespace(cell.facts["cell"], "net")
    assert _namespace(cell.relay, "net") == _namespace(slirp, "net")
    assert kernel_facts(slirp)["NSpid"].split()[-1] == "1"


def test_a_way_out_ends_with_its_cell(world: World) -> None:
    before = _open_files(world)
    cell = world.open()
    processes = [cell.relay, *descendants(cell.relay)]

    after = cell.order("end_cell")

    _expect_gone(processes)
    assert after["files"] == before


def test_a_way_out_that_is_killed_takes_the_device_along(world: World) -> None:
    cell = world.open()
    processes = [cell.relay, *descendants(cell.relay)]

    after = cell.order("end_way_out")

    _expect_gone(processes)
    assert after["devices"] == ["lo"]


def test_a_way_out_ends_when_slirp4netns_does(world: World) -> None:
    cell = world.open()

    os.kill(cell.slirp, signal.SIGKILL)

    assert cell.order("wait_way_out") == "ended"
    cell.order("end_way_out")


@pytest.mark.parametrize("when", ["running", "starting"])
def test_ways_out_end_with_a_launcher_that_is_killed(when: str) -> None:
    world = World("root")
    cell = world.open()
    network = _namespace(world.process.pid, "net")
    until = time.monotonic() + WAIT_S
    # Some of its children are for a moment, and in the cell's network.
    while not {cell.relay, *descendants(cell.relay)} < set(_processes_in(network)):
        assert time.monotonic() < until

    if when == "running":
        world.process.kill()
    else:
        world.tell("start_and_die", cell=cell.number + 1)
    world.close()

    while left := _processes_in(network):
        _expect_gone(left)


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "MAX_EGRESS", 0)
    network = networks.Network(is_root=True, has_seccomp=False)

    with pytest.raises(networks.EgressUnavailable, match="0 instances have"):
        network.start(-1, allow=(), cell=-1)


def in_an_interpreter(script: str) -> list[str]:
    """The lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    return done.stdout.splitlines()


def test_one_tenant_does_not_have_them_all() -> None:
    """What has ended does not count; others are not counted with it."""
    script = """
import os
from sandlot_sandbox.launcher import networks
networks.MAX_EGRESS_OF_OWNER = 1
network = networks.Network(is_root=True, has_seccomp=True)
not_one, me = os.open("/dev/null", os.O_RDONLY), os.pidfd_open(os.getpid())
def start(owner):
    return network.start(not_one, allow=(), cell=me, owner=owner)
first = start(1)
try:
    start(1)
except networks.EgressUnavailable as unavailable:
    print(unavailable)
for way_out in (first, start(2)):
    way_out.kill()
    way_out.bury()
again = start(1)
again.kill()
again.bury()
print(network.live, dict(network._of))
"""

    said, left = in_an_interpreter(script)

    assert said == "1 instances of this tenant have network egress, of 1 allowed"
    assert left == "0 {}"


def test_a_namespace_that_cannot_be_entered_is_reported() -> None:
    # In an interpreter of its own, as a launcher has: what other tests have loaded into
    # this one wants to be asked at each fork, and has no descriptors any more.
    script = """
import os
from sandlot_sandbox.launcher import networks
network = networks.Network(is_root=True, has_seccomp=True)
not_one = os.open("/dev/null", os.O_RDONLY)
way_out = network.start(not_one, allow=(), cell=os.pidfd_open(os.getpid()))
print(way_out.outcome())
way_out.bury()
print(network.live)
"""
    said, live = in_an_interpreter(script)

    assert "setns" in said
    assert live == "0"


def test_a_way_out_joins_its_cells_control_groups() -> None:
    network = networks.Network(is_root=True, has_seccomp=True)
    me = os.pidfd_open(os.getpid())
    read, join = os.pipe()

    way_out = network.start(me, allow=(), cell=me, joins=[join])
    os.close(join)

    assert os.read(read, 8) == b"0"
    way_out.kill()
    way_out.bury()
    os.close(read)
    os.close(me)


def test_without_slirp4netns_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(networks, "_PATH", "/nowhere")

    assert "apt-get install slirp4netns" in networks.probe_egress()


def test_without_a_tun_device_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(networks, "TUN", "/nowhere/tun")

    assert "modprobe tun" in networks.probe_egress()


@contextlib.asynccontextmanager
async def _function(
    sandbox: Sandbox, *, network: str, allow: tuple[str, ...] = ()
) -> AsyncIterator[Guest]:
    """The guest that wants out, with a network."""
    recipe = Recipe(
        runtime=RUNTIME,
        limits=Limits(memory_mb=128, tmp_mb=16),
        code=sandbox.store.add("outgoing"),
        settings={
            "handler": "app.handler",
            "version": "$LATEST",
            "import_in_zygote": True,
            "environment": {},
        },
        network=network,
        allow=allow,
    )
    lost = asyncio.Event()
    guest = Guest(Zygote(sandbox.launcher, recipe, on_lost=lambda _: lost.set()))
    try:
        assert await guest.zygote.wait_ready()
        yield guest
    finally:
        guest.zygote.kill()
        await asyncio.wait_for(lost.wait(), WAIT_S)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def on_machine(world: World, store: Store) -> AsyncIterator[Sandbox]:
    """A launcher of whole jails, with the network and the files of the machine."""
    start = asyncio.create_subprocess_exec

    async def start_there(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        place = f"--target={world.process.pid}"
        return await start("nsenter", place, "--net", "--mount", *argv, **options)

    async with contextlib.AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "create_subprocess_exec", start_there)
            sandbox = await stack.enter_async_context(started(world.mode, store))
        yield sandbox


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_with_egress_reaches_public_addresses_only(
    on_machine: Sandbox,
) -> None:
    async with _function(on_machine, network=EGRESS) as guest:
        for what in ("tcp", "udp"):
            assert await guest.ask(what, address=PUBLIC, port=PORT) == "ok"
            for address in NOT_FOR_CELLS:
                found = await guest.ask(what, address=address, port=PORT)
                assert found == REFUSED, address
                tied = await guest.ask(
                    what, address=address, port=PORT, device=True, wait_s=UNHEARD_S
                )
                assert tied == UNHEARD, address


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_with_egress_cannot_change_its_network(
    on_machine: Sandbox,
) -> None:
    async with _function(on_machine, network=EGRESS) as guest:
        found = await guest.ask("change_network")

    assert "ok" not in found.values(), found
    assert found["netlink"] == found["packets"] == found["raw"] == "ENOSYS"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_with_egress_finds_names(on_machine: Sandbox) -> None:
    async with _function(on_machine, network=EGRESS) as guest:
        assert await guest.ask("look_up", name="public.test") == [PUBLIC]
        assert await guest.ask("look_up", name="rebind.test") == "EAI -5"
        assert await guest.ask("getent", name="public.test") == 0


@pytest.mark.asyncio(loop_scope="session")
async def test_a_functions_allowed_network_is_open(on_machine: Sandbox) -> None:
    async with _function(on_machine, network=EGRESS, allow=("10.9.0.0/24",)) as guest:
        assert await guest.ask("tcp", address=PRIVATE, port=PORT) == "ok"
        assert await guest.ask("tcp", address=METADATA, port=PORT) == REFUSED


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_without_egress_reaches_nothing(on_machine: Sandbox) -> None:
    async with _function(on_machine, network=NONE) as guest:
        assert await guest.ask("tcp", address=PUBLIC, port=PORT) == "ENETUNREACH"
        assert await guest.ask("udp", address=PUBLIC, port=PORT) == "ENETUNREACH"


@pytest.mark.asyncio(loop_scope="session")
async def test_an_image_with_egress_is_held_as_others_are(
    on_machine: Sandbox,
) -> None:
    """The guest that wants out, on the image's own interpreter and C library."""
    wants_out = (GUESTS / "outgoing.py").read_bytes()
    files = ("outgoing.py", wants_out), ("app.py", RUNTIME_LOOP.encode())
    command = [f"{sys.base_prefix}/bin/python3", "-I", "-S", "/app.py"]
    archive = image_of(layer(*python(), *files), config={"Cmd": command})
    image = await built(on_machine, archive), AS_IT_SAYS

    async with on_machine.running_program(
        IMAGE, {}, image=image, network=EGRESS
    ) as guest:
        instance = await guest.fork()
        assert await ask(instance, "look_up", name="public.test") == [PUBLIC]
        assert await ask(instance, "look_up", name="rebind.test") == "EAI -5"
        for what in ("tcp", "udp"):
            assert await ask(instance, what, address=PUBLIC, port=PORT) == "ok"
            for address in NOT_FOR_CELLS:
                found = await ask(instance, what, address=address, port=PORT)
                assert found == REFUSED, address
        assert "ok" not in (await ask(instance, "change_network")).values()
        await instance.destroy()
    async with on_machine.running_program(IMAGE, {}, image=image) as guest:
        instance = await guest.fork()
        found = await ask(instance, "tcp", address=PUBLIC, port=PORT)
        assert found == "ENETUNREACH"
        await instance.destroy()


RUNTIME_LOOP = """
import http.client, json, os, sys
sys.path.append("/")
import outgoing
api, base = os.environ["AWS_LAMBDA_RUNTIME_API"], "/2018-06-01/runtime/invocation"
while True:
    link = http.client.HTTPConnection(api)
    link.request("GET", f"{base}/next")
    reply = link.getresponse()
    event = json.loads(reply.read())
    name = reply.headers["Lambda-Runtime-Aws-Request-Id"]
    answer = json.dumps(outgoing.handler(event, None))
    link = http.client.HTTPConnection(api)
    link.request("POST", f"{base}/{name}/response", answer)
    link.getresponse().read()
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_the_processes_beside_instances_end_with_the_zygote(
    on_machine: Sandbox,
) -> None:
    machine = _namespace(on_machine.process.pid, "net")
    before = set(_processes_in(machine))
    async with _function(on_machine, network=EGRESS) as guest:
        instance = await guest.fork()
        assert await ask(instance, "tcp", address=PUBLIC, port=PORT) == "ok"
        beside = set(_processes_in(machine)) - before
        assert len(beside) >= len(("relay", "slirp4netns"))

    await wait_gone(list(beside))


def _namespace(pid: int, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def _open_files(world: World) -> int:
    """Of the machine, while no cell but the shared one is there."""
    cell = world.open()
    files: int = cell.order("end_cell")["files"]
    return files


def _descriptor(pid: int, number: int) -> str:
    return str(Path(f"/proc/{pid}/fd/{number}").readlink())


def _processes_in(network: str) -> list[int]:
    """Those that live; of one that has ended, nobody can tell where it was."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and _namespace(int(entry.name), "net") == network:
                found.append(int(entry.name))
    return found


def _expect_gone(pids: list[int]) -> None:
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([pidfd], [], [], WAIT_S)
        os.close(pidfd)
        assert ready, kernel_facts(pid)
