"""Where control groups are made, with which limits, and that they are removed again."""

import mmap
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.launcher.cgroups import (
    CgroupsUnavailable,
    Family,
    Group,
    Interface,
    Janitor,
    Layout,
    Tree,
    find,
)
from sandlot_sandbox.launcher.cgroups.files import make_folder, remove_all
from sandlot_sandbox.launcher.cgroups.layout import make_room_in_v2
from sandlot_sandbox.launcher.cgroups.sweeping import claim, sweep
from sandlot_sandbox.limits import CLONES_AT_ONCE, Limits, Share
from sandlot_sandbox.memory_group import MEMORY_V1, MEMORY_V2

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


# --- the kernel's own -----------------------------------------------------------

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user may make no groups"
)


@pytest.fixture(params=["v1", "v2"])
def tree(request: pytest.FixtureRequest) -> Iterator[Tree]:
    layout = find(only=request.param)
    if not layout.v1 and layout.v2 is None:
        pytest.skip(f"this kernel's groups are not {request.param}")
    made = Tree.plant(layout)
    try:
        yield made
    finally:
        made.prune()
        made.remove()
        assert not any(folder.exists() for folder in made.parts.values())


def _inner(tree: Tree) -> set[Path]:
    """All groups in it."""
    return {
        inner
        for folder in tree.parts.values()
        for inner in folder.iterdir()
        if inner.is_dir()
    }


@needs_root
def test_in_v1_something_is_always_frozen(tree: Tree) -> None:
    states = [inner / "freezer.state" for inner in _inner(tree)]

    assert [state.read_text().strip() for state in states] == (
        [] if tree.is_v2 else ["FROZEN"]
    )


def _folders(group: Group) -> list[Path]:
    return list(group._folders.values())  # noqa: SLF001 - nobody else has to know


@needs_root
def test_a_group_is_in_every_hierarchy_with_its_limits(tree: Tree) -> None:
    group = tree.make().add(SHARE)

    assert all(folder.is_dir() for folder in _folders(group))
    for part, file, value in tree.interface.limits_of(SHARE):
        folder = group._folders[part]  # noqa: SLF001
        assert (folder / file).read_bytes().strip() == value
    assert group.remove()
    assert not any(folder.exists() for folder in _folders(group))


@needs_root
def test_a_group_that_cannot_be_made_leaves_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, last = tree.parts.values()
    real = Path.mkdir

    def fail_at_last(path: Path) -> None:
        if last in path.parents:
            raise OSError(12, "no memory")
        real(path)

    before = _inner(tree)
    family = tree.make()
    monkeypatch.setattr(Path, "mkdir", fail_at_last)

    with pytest.raises(OSError, match="no memory"):
        family.add(SHARE)
    tree.give_up(family)
    assert _inner(tree) == before


@needs_root
def test_processors_are_dealt_out_among_owners_before_their_functions(
    tree: Tree,
) -> None:
    part = "v2" if tree.is_v2 else "cpu"
    if part not in tree.parts:
        pytest.skip("nobody shares out processors here")
    families = [tree.make(owner) for owner in (1, 1, 2)]
    estates = [family._roof[part].parent for family in families]  # noqa: SLF001

    assert estates[0] == estates[1] != estates[2]
    assert {estate.parent for estate in estates} == {tree.parts[part]}
    tree.give_up(families[0])
    assert estates[0].exists()
    for family in families[1:]:
        tree.give_up(family)
    assert not any(estate.exists() for estate in estates)


@needs_root
def test_who_is_alone_in_an_estate_and_cannot_be_made_leaves_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Family) -> None:
        raise OSError(12, "no memory")

    before = _inner(tree)
    monkeypatch.setattr(Family, "make", fail)

    with pytest.raises(OSError, match="no memory"):
        tree.make(7)
    assert _inner(tree) == before


@needs_root
def test_the_name_of_a_group_says_nothing_of_others(tree: Tree) -> None:
    groups = [tree.make().add(SHARE) for _ in range(3)]

    names = [folder.name for group in groups for folder in _folders(group)]
    assert len(set(names)) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names)
    assert all(group.remove() for group in groups)


@needs_root
def test_who_writes_0_to_each_is_in_the_group(tree: Tree) -> None:
    group = tree.make().add(SHARE)

    with _member(group) as member:
        for folder in _folders(group):
            assert (folder / "cgroup.procs").read_text().split() == [str(member.pid)]


@needs_root
def test_a_group_that_a_process_is_still_in_is_removed_later(tree: Tree) -> None:
    family = tree.make()
    group = family.add(SHARE)
    with _member(group):
        tree.give_up(family)
        assert all(folder.exists() for folder in _folders(group))

    tree.prune()

    assert not any(folder.exists() for folder in _folders(group))


@needs_root
def test_what_is_opened_of_a_group_freezes_it_and_tells_of_it(tree: Tree) -> None:
    group = tree.make().add(SHARE)
    files = group.open_files()
    try:
        assert ("freeze" if tree.is_v2 else "freezer") in files
        kind = MEMORY_V2 if tree.is_v2 else MEMORY_V1
        assert (kind in files) == ("memory" in tree.controls)
        if kind in files:
            hold = Hold({kind: os.dup(files[kind])})
            try:
                assert hold.uses_more_than(-1)
                assert not hold.uses_more_than(1 << 20)
                assert not hold.uses_too_much(1 << 20)
            finally:
                hold.close()
    finally:
        for fd in files.values():
            os.close(fd)
        group.remove()


@needs_root
def test_only_groups_of_launchers_that_are_gone_are_swept(tree: Tree) -> None:
    gone, alive, others = "sandlot-999999999", "sandlot-1", "sandlot-engine"
    parents = [folder.parent for folder in tree.parts.values()]
    for parent in parents:
        for name in (gone, alive, others):
            (parent / name / "1.2").mkdir(parents=True)
    try:
        sweep(parents)  # what `plant` does, without another tree

        left = {n: (p / n).exists() for p in parents for n in (gone, alive, others)}
        assert left == {gone: False, alive: True, others: True}
    finally:
        for parent in parents:
            for name in (gone, alive, others):
                remove_all(parent / name)


@needs_root
def test_groups_of_a_launcher_in_another_pid_namespace_are_not_swept(
    tree: Tree,
) -> None:
    """Its pid is nobody's here; only its claim tells that it lives."""
    parents = [folder.parent for folder in tree.parts.values()]
    theirs = [parent / "sandlot-999999998" for parent in parents]
    claims = []
    try:
        for folder in theirs:
            make_folder(folder)
            claims.append(claim(folder))

        sweep(parents)

        assert all(folder.exists() for folder in theirs)

        while claims:
            os.close(claims.pop())
        sweep(parents)

        assert not any(folder.exists() for folder in theirs)
    finally:
        for fd in claims:
            os.close(fd)
        for folder in theirs:
            remove_all(folder)


@needs_root
def test_a_janitor_removes_a_tree_with_what_is_in_it(tree: Tree) -> None:
    janitor = Janitor(tree)
    tree.make().add(SHARE)
    tree.make().add(SHARE)

    janitor.dismiss()

    assert not any(folder.exists() for folder in tree.parts.values())


@needs_root
def test_a_tree_that_is_there_already_is_not_shared(tree: Tree) -> None:
    with pytest.raises(CgroupsUnavailable, match="exist"):
        Tree.plant(find(only="v2" if tree.is_v2 else "v1"))

    assert all(folder.exists() for folder in tree.parts.values())


@needs_root
def test_a_tree_that_could_not_be_claimed_is_not_left(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_folder: Path) -> int:
        raise OSError("no locks left")

    tree.remove()
    monkeypatch.setattr("sandlot_sandbox.launcher.cgroups.tree.claim", fails)

    with pytest.raises(CgroupsUnavailable, match="no locks left"):
        Tree.plant(find(only="v2" if tree.is_v2 else "v1"))

    assert not any(folder.exists() for folder in tree.parts.values())


class _member:  # noqa: N801 - reads as the context manager that it is
    """A process that has joined a group, until it is told to end."""

    _JOIN = (
        "import os, sys; [os.write(int(fd), b'0') for fd in sys.argv[1:]];"
        " print(flush=True); sys.stdin.read()"
    )

    def __init__(self, group: Group) -> None:
        joins = group.open_joins()
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._JOIN, *map(str, joins)],
            pass_fds=joins,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for fd in joins:
            os.close(fd)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"\n"

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> "_member":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@needs_root
def test_the_roof_holds_what_its_groups_may_use_and_no_more(tree: Tree) -> None:
    if "memory" not in tree.controls:
        pytest.skip("nobody counts memory here")
    family = tree.make()
    one = family.add(SHARE)
    (roof,) = {
        folder.parent
        for folder in _folders(one)
        if (folder / "memory.limit_in_bytes").exists()
    }

    def limit() -> int:
        return int((roof / "memory.limit_in_bytes").read_text())

    most = (9 * SHARE.memory_bytes // 8) & -mmap.PAGESIZE
    assert limit() == most
    other = family.add(SHARE)
    assert limit() == 2 * most
    assert not family.uses_too_much()
    assert family.take_away(other)
    assert limit() == 2 * most, "what was used may be in use still"
    assert family.take_away(one)
    assert family.remove()


@needs_root
def test_all_of_a_function_weighs_no_more_than_the_machine(tree: Tree) -> None:
    if "cpu" not in tree.controls:
        pytest.skip("nobody shares out processors here")
    family = tree.make()
    large = replace(SHARE, cpus=float(os.cpu_count() or 1))
    one = family.add(large)
    (roof,) = {
        folder.parent
        for folder in _folders(one)
        if (folder / "cpu.shares").exists() and (folder / "cpu.cfs_quota_us").exists()
    }
    alone = int((roof / "cpu.shares").read_text())

    others = [family.add(large) for _ in range(3)]

    assert int((roof / "cpu.shares").read_text()) == alone
    for group in (*others, one):
        assert family.take_away(group)
    assert family.remove()


@needs_root
def test_memory_of_a_group_that_is_gone_counts_under_its_roof(tree: Tree) -> None:
    if "memory" not in tree.controls:
        pytest.skip("nobody counts memory here")
    family = tree.make()
    kept, gone = family.add(SHARE), family.add(SHARE)
    mover = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HOPPING],
        pass_fds=[*(joins := gone.open_joins()), *(others := kept.open_joins())],
        env={"FROM": " ".join(map(str, joins)), "TO": " ".join(map(str, others))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with mover:
        assert mover.stdout is not None
        assert mover.stdout.read(1) == b"+"
        assert family.take_away(gone)

        assert family.uses_too_much()

        mover.kill()
    for fd in (*joins, *others):
        os.close(fd)
    tree.give_up(family)


HOPPING = f"""
import os, sys
for join in os.environ["FROM"].split():
    os.write(int(join), b"0")
kept = bytearray({SHARE.memory_bytes - (8 << 20)})
kept[::4096] = bytes(len(kept) // 4096)
for join in os.environ["TO"].split():
    os.write(int(join), b"0")
more = bytearray({16 << 20})
more[::4096] = bytes(len(more) // 4096)
os.write(1, b"+")
sys.stdin.read()
"""


def test_a_group_without_what_freezes_it_is_none(machine: Machine) -> None:
    ours = machine.v2("/ours", controllers="memory", inside=f"{os.getpid()}\n")
    layout = Layout({}, ours, frozenset(("memory",)))
    for name in ("memory.current", "memory.events", "memory.stat"):
        (ours / name).write_text("")
    group = Group(Interface(layout), {"v2": ours})
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(FileNotFoundError):
        group.open_files()
    assert len(list(Path("/proc/self/fd").iterdir())) == before

    (ours / "cgroup.freeze").write_text("")
    opened = group.open_files()
    for fd in opened.values():
        os.close(fd)
    assert set(opened) == {"freeze", MEMORY_V2}

    (ours / "memory.current").unlink()
    with pytest.raises(FileNotFoundError):
        group.open_files()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
