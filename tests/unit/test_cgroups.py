"""Where control groups are made, and with which limits."""

import os
from pathlib import Path

import pytest

from sandlot_sandbox.launcher.cgroups import (
    CgroupsUnavailable,
    Group,
    Interface,
    Layout,
    Tree,
    find,
)
from sandlot_sandbox.launcher.cgroups.districts import most_of
from sandlot_sandbox.launcher.cgroups.layout import make_room_in_v2
from sandlot_sandbox.limits import CLONES_AT_ONCE, Limits, Share
from sandlot_sandbox.memory_group import MEMORY_V2
from tests.descriptors import open_files

ALL = frozenset(("memory", "cpu", "pids", "freezer"))
MIB = 1 << 20
SOMEBODY_ELSE = "4194304\n"
"""Nobody's number: Linux counts to one less. Process 1 could be our parent."""

SMALL = Limits(memory_mb=128, tmp_mb=512)
TWO_CPUS = Limits(memory_mb=2 * 1769, tmp_mb=512)
SHARE = SMALL.instance_share


# --- where ----------------------------------------------------------------------


class Machine:
    """A /sys/fs/cgroup, and the /proc/self/cgroup that goes with it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cgroup"
        self.root.mkdir()
        self._of = folder / "of-self"
        self._lines: list[str] = []

    def v1(self, controllers: str, path: str = "/", *, link: str = "") -> Path:
        """A hierarchy; `link` is another name of its folder."""
        folder = self.root / controllers / path.lstrip("/")
        folder.mkdir(parents=True)
        if link:
            (self.root / link).symlink_to(controllers)
        self._lines.append(f"{len(self._lines) + 1}:{controllers}:{path}")
        return folder

    def v2(
        self, path: str, *, at: str = "", controllers: str = "", inside: str = ""
    ) -> Path:
        """The v2 tree, at the root or in a folder of it, with who is in our group."""
        folder = self.root / at
        for name in ("", *Path(path.lstrip("/")).parts):
            folder = folder / name
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.procs").write_text("")
            (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.procs").write_text(inside)
        self._lines.append(f"0::{path}")
        return folder

    def find(self, only: str = "") -> Layout:
        self._of.write_text("".join(line + "\n" for line in self._lines))
        return find(self.root, self._of, only=only)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def only_root_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be written to, as an ordinary user finds it."""
    monkeypatch.setattr(os, "access", lambda *_: False)


def test_in_v1_each_controller_is_where_we_are(machine: Machine) -> None:
    memory = machine.v1("memory", "/user/1")
    cpu = machine.v1("cpu,cpuacct", link="cpu")
    pids, freezer = machine.v1("pids"), machine.v1("freezer", "/a/b")
    machine.v1("devices")

    layout = machine.find()

    assert layout.v1 == {
        "memory": memory,
        "cpu": cpu,
        "pids": pids,
        "freezer": freezer,
    }
    assert layout.v2 is None
    assert layout.controls == ALL
    assert layout.name == "cgroup v1"


def test_controllers_that_are_mounted_together_are_found_by_one_of_their_names(
    machine: Machine,
) -> None:
    folder = machine.v1("cpu,cpuacct")
    folder.rename(machine.root / "cpu")

    assert machine.find().v1 == {"cpu": machine.root / "cpu"}


def test_of_both_v1_comes_first(machine: Machine) -> None:
    memory = machine.v1("memory")
    machine.v2("/", at="unified")

    assert machine.find().v1 == {"memory": memory}
    assert machine.find().v2 is None


def test_v2_without_controllers_can_be_asked_for(machine: Machine) -> None:
    machine.v1("memory")
    machine.v2("/", at="unified")

    layout = machine.find(only="v2")

    assert layout == Layout({}, machine.root / "unified", frozenset())
    assert layout.controls == {"freezer"}
    assert layout.name == "cgroup v2"


def test_v1_can_be_asked_for_where_there_is_none(machine: Machine) -> None:
    machine.v2("/", controllers="memory cpu pids")

    assert machine.find(only="v1") == Layout()
    assert machine.find(only="none") == Layout()


def test_in_v2_root_makes_groups_beside_everybody_else_s(machine: Machine) -> None:
    machine.v2(
        "/user.slice/session-1", controllers="cpu io memory pids", inside=SOMEBODY_ELSE
    )

    layout = machine.find()

    assert layout.v2 == machine.root
    assert layout.v2_controllers == {"memory", "cpu", "pids"}
    assert layout.controls == ALL


def test_a_group_that_systemd_made_for_us_is_used(machine: Machine) -> None:
    ours = machine.v2(
        "/system.slice/sandlot.service",
        controllers="memory pids",
        inside=f"{os.getpid()}\n{os.getppid()}\n",
    )

    layout = machine.find()

    assert layout.v2 == ours
    assert layout.controls == {"memory", "pids", "freezer"}


def test_a_group_in_which_somebody_else_is_was_not_made_for_us(
    machine: Machine,
) -> None:
    machine.v2("/user.slice/session-1", inside=f"{os.getpid()}\n{SOMEBODY_ELSE}")

    assert machine.find().v2 == machine.root


def test_a_launcher_finds_what_one_before_it_has_left_for_the_groups(
    machine: Machine,
) -> None:
    ours = machine.v2("/system.slice/sandlot.service", controllers="memory")
    machine.v2(
        "/system.slice/sandlot.service/sandlot.engine", inside=f"{os.getpid()}\n"
    )
    machine._lines.pop(0)  # noqa: SLF001 - we have moved

    assert machine.find().v2 == ours


@pytest.mark.usefixtures("only_root_s")
def test_where_nothing_may_be_written_to_there_are_no_groups(machine: Machine) -> None:
    machine.v1("memory")
    machine.v2("/user.slice/session-1", at="unified", inside=f"{os.getpid()}\n")

    assert machine.find() == Layout()
    assert machine.find(only="v2") == Layout()


def test_where_there_is_nothing_there_are_no_groups(machine: Machine) -> None:
    assert machine.find() == Layout()
    assert find(machine.root, machine.root / "none") == Layout()
    with pytest.raises(CgroupsUnavailable):
        Tree.plant(Layout())


# --- which limits ---------------------------------------------------------------


def _written(layout: Layout, share: Share) -> dict[str, dict[str, bytes]]:
    parts: dict[str, dict[str, bytes]] = {}
    for part, file, value in Interface(layout).limits_of(share):
        parts.setdefault(part, {})[file] = value
    return parts


V1 = Layout({name: Path(name) for name in ALL})
V2 = Layout({}, Path("v2"), ALL)


def test_limits_of_v1() -> None:
    assert _written(V1, SMALL.instance_share) == {
        "memory": {
            "memory.limit_in_bytes": b"%d" % (640 * MIB),
            "memory.memsw.limit_in_bytes": b"%d" % (640 * MIB),
            "memory.kmem.tcp.limit_in_bytes": b"%d" % (320 * MIB),
        },
        "cpu": {
            "cpu.shares": b"74",
            "cpu.cfs_quota_us": b"100000",
        },
        "pids": {"pids.max": b"1024"},
    }


def test_limits_of_v2() -> None:
    assert _written(V2, SMALL.instance_share) == {
        "v2": {
            "memory.max": b"%d" % (640 * MIB),
            "memory.swap.max": b"0",
            "memory.oom.group": b"1",
            "cpu.weight": b"7",
            "cpu.max": b"100000 100000",
            "pids.max": b"1024",
        }
    }


def test_what_has_two_processors_memory_is_owed_and_may_use_two() -> None:
    v1, v2 = (_written(layout, TWO_CPUS.instance_share) for layout in (V1, V2))

    assert v1["cpu"]["cpu.shares"] == b"2048"
    assert v1["cpu"]["cpu.cfs_quota_us"] == b"200000"
    assert v2["v2"]["cpu.weight"] == b"200"
    assert v2["v2"]["cpu.max"] == b"200000 100000"


@pytest.mark.parametrize("layout", [V1, V2], ids=["v1", "v2"])
def test_the_kernel_s_bounds_on_shares_are_kept(layout: Layout) -> None:
    least = Share(memory_bytes=MIB, cpus=0.0, max_cpus=1.0, processes=1)
    most = Share(memory_bytes=MIB, cpus=1e6, max_cpus=1.0, processes=1)
    name = "cpu.shares" if layout is V1 else "cpu.weight"
    part = "cpu" if layout is V1 else "v2"

    low, high = (int(_written(layout, s)[part][name]) for s in (least, most))

    assert low == (2 if layout is V1 else 1)
    assert high <= (1 << 30 if layout is V1 else 10_000)


def test_only_what_is_controlled_is_limited() -> None:
    assert _written(Layout({"pids": Path("pids")}), SHARE) == {
        "pids": {"pids.max": b"1024"}
    }
    assert _written(Layout({}, Path("v2"), frozenset()), SHARE) == {}


def test_a_zygote_is_owed_half_a_processor_and_has_memory_for_what_is_ours() -> None:
    share = SMALL.zygote_share()

    assert (share.cpus, share.max_cpus) == (0.5, 1.0)
    assert TWO_CPUS.zygote_share().cpus == 2.0
    assert share.memory_bytes == (128 + 512 + 64) * MIB
    with_clones = SMALL.zygote_share(CLONES_AT_ONCE)
    assert with_clones.memory_bytes - share.memory_bytes == SMALL.of_clones(
        CLONES_AT_ONCE
    )


def test_who_serves_weighs_more_than_what_it_runs(tmp_path: Path) -> None:
    given, ours = tmp_path / "given", tmp_path / "given/sandlot.engine"
    ours.mkdir(parents=True)
    for file in ("cgroup.procs", "cgroup.subtree_control"):
        (given / file).write_text("")
    weight = ours / "cpu.weight"
    weight.write_text("100")

    make_room_in_v2(given, frozenset(("memory",)))
    assert weight.read_text() == "100", "where processors are not shared out"
    make_room_in_v2(given, frozenset(("cpu",)))
    assert weight.read_text() == "900"


def test_in_v1_there_are_districts_where_the_engine_may_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def is_forbidden(_kind: int, _pid: int, niceness: int) -> None:
        asked.append(niceness)
        raise PermissionError

    layout = Layout({"cpu": tmp_path})
    monkeypatch.setattr(os, "setpriority", lambda *call: asked.append(call[2]))
    assert most_of(layout, 1 << 10) == 64, "processes are counted elsewhere"
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert asked == [before - 10, before], "it stays as it was"

    monkeypatch.setattr(os, "setpriority", is_forbidden)
    assert most_of(layout, 1 << 22) == 1


def test_in_v2_districts_are_beside_the_engine_s_own_group(tmp_path: Path) -> None:
    ours = tmp_path / "sandlot.engine"
    layout = Layout({}, tmp_path, frozenset(("cpu", "pids")))

    assert most_of(layout, 1 << 22) == 1, "the engine would be behind all of them"
    ours.mkdir()
    assert most_of(layout, 1 << 22) == 1
    (ours / "cpu.weight").write_text("900")
    assert most_of(layout, 1 << 22) == 64
    # Each has its part of all processes, which must do for a large tenant's.
    assert most_of(layout, 3 << 14) == 3
    assert most_of(layout, 1 << 10) == 1
    assert most_of(Layout({}, tmp_path, frozenset(("cpu",))), 1 << 10) == 64
    assert most_of(Layout({}, tmp_path, frozenset(("pids",))), 1 << 22) == 1


def test_a_group_without_what_freezes_it_is_none(machine: Machine) -> None:
    ours = machine.v2("/ours", controllers="memory", inside=f"{os.getpid()}\n")
    layout = Layout({}, ours, frozenset(("memory",)))
    for name in ("memory.current", "memory.events", "memory.stat"):
        (ours / name).write_text("")
    group = Group(Interface(layout), {"v2": ours})
    before = open_files()

    with pytest.raises(FileNotFoundError):
        group.open_files()
    assert open_files() == before

    (ours / "cgroup.freeze").write_text("")
    opened = group.open_files()
    for fd in opened.values():
        os.close(fd)
    assert set(opened) == {"freeze", MEMORY_V2}

    (ours / "memory.current").unlink()
    with pytest.raises(FileNotFoundError):
        group.open_files()
    assert open_files() == before
