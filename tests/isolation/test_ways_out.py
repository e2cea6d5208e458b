"""The processes beside a cell with a way out: they hold nothing, and end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandlot_sandbox.launcher import networks
from tests.isolation.egress import (
    WAIT_S,
    Cell,
    World,
    expect_gone,
    namespace,
    processes_in,
)
from tests.isolation.machine import (
    ORDINARY_UID,
    descendants,
    kernel_facts,
)

pytestmark = pytest.mark.usefixtures("an_internet")


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

    assert namespace(slirp, "net") != namespace(cell.facts["cell"], "net")
    assert namespace(cell.relay, "net") == namespace(slirp, "net")
    assert kernel_facts(slirp)["NSpid"].split()[-1] == "1"


def test_a_way_out_ends_with_its_cell(world: World) -> None:
    before = _open_files(world)
    cell = world.open()
    processes = [cell.relay, *descendants(cell.relay)]

    after = cell.order("end_cell")

    expect_gone(processes)
    assert after["files"] == before


def test_a_way_out_that_is_killed_takes_the_device_along(world: World) -> None:
    cell = world.open()
    processes = [cell.relay, *descendants(cell.relay)]

    after = cell.order("end_way_out")

    expect_gone(processes)
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
    network = namespace(world.process.pid, "net")
    until = time.monotonic() + WAIT_S
    # Some of its children are for a moment, and in the cell's network.
    while not {cell.relay, *descendants(cell.relay)} < set(processes_in(network)):
        assert time.monotonic() < until

    if when == "running":
        world.process.kill()
    else:
        world.tell("start_and_die", cell=cell.number + 1)
    world.close()

    while left := processes_in(network):
        expect_gone(left)


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


def _open_files(world: World) -> int:
    """Of the machine, while no cell but the shared one is there."""
    cell = world.open()
    files: int = cell.order("end_cell")["files"]
    return files


def _descriptor(pid: int, number: int) -> str:
    return str(Path(f"/proc/{pid}/fd/{number}").readlink())
