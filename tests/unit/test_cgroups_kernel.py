"""Control groups of the machine's own kernel: made with their limits, and removed."""

import mmap
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.launcher.cgroups import (
    CgroupsUnavailable,
    Family,
    Group,
    Janitor,
    Tree,
    find,
)
from sandlot_sandbox.launcher.cgroups.files import (
    make_folder,
    remove_all,
)
from sandlot_sandbox.launcher.cgroups.sweeping import claim, sweep
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.memory_group import FILES, MEMORY_V1, MEMORY_V2

SHARE = Limits(memory_mb=128, tmp_mb=512).instance_share

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user may make no groups"
)


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
    assert estates[0].parent == tree.parts[part]
    tree.give_up(families[0])
    assert estates[0].exists()
    for family in families[1:]:
        tree.give_up(family)
    assert not any(estate.exists() for estate in estates)


def _fail(*_: object) -> None:
    raise OSError(12, "no memory")


@needs_root
def test_who_is_alone_in_an_estate_and_cannot_be_made_leaves_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _inner(tree)
    monkeypatch.setattr(Family, "make", _fail)

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
    # Trees and their districts.
    gone = ("sandlot-999999999", "sandlot-999999999.1", "sandlot-999999998.2")
    kept = ("sandlot-1", "sandlot-1.1", "sandlot-engine", "sandlot-999999999.x")
    parents = [folder.parent for folder in tree.parts.values()]
    for parent in parents:
        for name in (*gone, *kept):
            (parent / name / "1.2").mkdir(parents=True)
    try:
        sweep(parents)  # what `plant` does, without another tree

        assert not any((p / name).exists() for p in parents for name in gone)
        assert all((p / name).exists() for p in parents for name in kept)
    finally:
        for parent in parents:
            for name in (*gone, *kept):
                remove_all(parent / name)


@needs_root
def test_groups_of_a_launcher_in_another_pid_namespace_are_not_swept(
    tree: Tree,
) -> None:
    """Its pid is nobody's here; only its claim tells that it lives."""
    parents = [folder.parent for folder in tree.parts.values()]
    theirs = [parent / "sandlot-999999998" for parent in parents]
    districts = [folder.with_name(f"{folder.name}.1") for folder in theirs]
    claims = []
    try:
        for folder in theirs:
            make_folder(folder)
            claims.append(claim(folder))
        for folder in districts:
            make_folder(folder)

        sweep(parents)

        assert all(folder.exists() for folder in (*theirs, *districts))

        while claims:
            os.close(claims.pop())
        sweep(parents)

        assert not any(folder.exists() for folder in (*theirs, *districts))
    finally:
        for fd in claims:
            os.close(fd)
        for folder in (*theirs, *districts):
            remove_all(folder)


@needs_root
def test_a_janitor_removes_a_tree_with_what_is_in_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "cpu" in tree.controls:
        monkeypatch.setattr(tree, "_most_districts", 4)
    janitor = Janitor(tree)
    for owner in range(5):
        tree.make(owner).add(SHARE)

    janitor.dismiss()

    assert not any(folder.exists() for folder in tree.folders)


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
    """A process that has joined a group, and has been at work in there for so long,
    until it is told to end."""

    _JOIN = """
import os, sys, time
for fd in sys.argv[2:]:
    os.write(int(fd), b"0")
began = time.process_time()
while time.process_time() - began < float(sys.argv[1]):
    pass
print(flush=True)
sys.stdin.read()
"""

    def __init__(self, group: Group, *, works_s: float = 0.0) -> None:
        joins = group.open_joins()
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._JOIN, str(works_s), *map(str, joins)],
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
    file = "memory.max" if tree.is_v2 else "memory.limit_in_bytes"
    (roof,) = {folder.parent for folder in _folders(one) if (folder / file).exists()}

    def limit() -> int:
        return int((roof / file).read_text())

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
    file = "cpu.weight" if tree.is_v2 else "cpu.shares"
    (roof,) = {folder.parent for folder in _folders(one) if (folder / file).exists()}
    alone = int((roof / file).read_text())

    others = [family.add(large) for _ in range(3)]

    assert int((roof / file).read_text()) == alone
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


@needs_root
def test_a_group_that_is_full_hides_nothing(tree: Tree) -> None:
    if "memory" not in tree.controls:
        pytest.skip("nobody counts memory here")
    family = tree.make()
    full = family.add(SHARE)
    (usage,) = (
        file
        for folder in _folders(full)
        for file in (folder / FILES[tree.interface.memory_kind].usage,)
        if file.exists()
    )
    filler = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FILLING, str(usage)],
        pass_fds=(joins := full.open_joins()),
        env={"FROM": " ".join(map(str, joins))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with filler:
        assert filler.stdout is not None
        assert filler.stdout.read(1) == b"+"

        assert not family.uses_too_much()

        filler.kill()
    for fd in joins:
        os.close(fd)
    tree.give_up(family)


FILLING = f"""
import mmap, os, sys
usage = os.open(sys.argv[1], os.O_RDONLY)
for join in os.environ["FROM"].split():
    os.write(int(join), b"0")
kept = mmap.mmap(-1, {SHARE.memory_bytes})
for at in range(0, len(kept), mmap.PAGESIZE):
    # But for a page that it may need itself, to tell.
    if int(os.pread(usage, 32, 0)) >= {SHARE.memory_bytes} - mmap.PAGESIZE:
        break
    kept[at] = 1
os.write(1, b"+")
sys.stdin.read()
"""

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


@needs_root
def test_what_all_of_a_function_spent_is_told_where_the_kernel_counts_it(
    tree: Tree,
) -> None:
    family = tree.make(1)
    group = family.add(SHARE)
    before = family.spent_us()
    if before is None:
        pytest.skip("processors are counted elsewhere")

    with _member(group, works_s=0.05):
        pass

    after = family.spent_us()
    assert after is not None
    assert 50_000 <= after - before < 5_000_000
    tree.give_up(family)
