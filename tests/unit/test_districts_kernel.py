"""Districts of the machine's own kernel: owners' groups side by side."""

import os
from pathlib import Path

import pytest

from sandlot_sandbox.launcher.cgroups import Tree, find
from sandlot_sandbox.launcher.cgroups.districts import most_of
from sandlot_sandbox.launcher.cgroups.files import write_file

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user may make no groups"
)


def _districts(tree: Tree, owners: range) -> list[str]:
    """Where the kernel deals out processors to each."""
    if "cpu" not in tree.controls:
        pytest.skip("nobody shares out processors here")
    part = "v2" if tree.is_v2 else "cpu"
    families = [tree.make(owner) for owner in owners]
    roofs = [family._roof for family in families]  # noqa: SLF001
    others = tree.parts.keys() - {part}
    assert all(roof[o].parent == tree.parts[o] for roof in roofs for o in others)
    return [roof[part].parent.parent.name for roof in roofs]


@needs_root
def test_owners_lie_side_by_side_as_far_as_there_may_be_districts(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_most_districts", 3)
    beside = [f"{tree.name}.{number}" for number in (1, 2)]

    assert _districts(tree, range(4)) == [tree.name, *beside, tree.name]
    assert _districts(tree, range(4, 6)) == beside
    assert _weights(tree) == {100 if tree.is_v2 else 1024}
    assert tree.folders[-len(tree.parts) :] == list(tree.parts.values())
    assert {folder.name for folder in tree.folders} == {tree.name, *beside}


@needs_root
def test_a_district_of_one_that_had_the_same_pid_is_in_nobody_s_way(
    tree: Tree,
) -> None:
    if tree.is_v2:
        pytest.skip("there may be no districts")
    tree.remove()
    left = tree.parts["cpu"].with_name(f"{tree.name}.1")
    (left / "estate").mkdir(parents=True)

    again = Tree.plant(find(only="v1"))
    try:
        assert not left.exists()
    finally:
        again.remove()


@needs_root
def test_districts_weigh_no_more_together_however_many_there_are(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_most_districts", 16)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    _districts(tree, range(8))
    assert _weights(tree) == {100 if tree.is_v2 else 1024}
    _districts(tree, range(8, 16))

    assert _weights(tree) == {50 if tree.is_v2 else 512}


def _weights(tree: Tree) -> set[int]:
    file = "cpu.weight" if tree.is_v2 else "cpu.shares"
    files = [folder / file for folder in tree.folders]
    return {int(file.read_text()) for file in files if file.exists()}


@needs_root
def test_a_district_that_is_empty_is_the_next_owner_s(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_most_districts", 8)
    _districts(tree, range(1))
    tree.give_up(tree.make(1))

    assert _districts(tree, range(2, 4)) == [f"{tree.name}.{n}" for n in (1, 2)]


@needs_root
def test_a_district_that_cannot_be_made_leaves_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_most_districts", 8)
    _districts(tree, range(1))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", _fail)
        with pytest.raises(OSError, match="no memory"):
            tree.make(1)

    assert _districts(tree, range(1, 2)) == [f"{tree.name}.1"]


@needs_root
@pytest.mark.parametrize("fails", [2, 9])
def test_a_district_that_cannot_be_weighed_is_none(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    """Else the next owner would be in there, with all weighing too much together."""
    monkeypatch.setattr(tree, "_most_districts", 16)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    _districts(tree, range(8))
    written = 0

    def write(path: Path, value: bytes) -> None:
        nonlocal written
        written += path.name in ("cpu.weight", "cpu.shares")
        if written == fails:
            _fail()
        write_file(path, value)

    with monkeypatch.context() as patch:
        patch.setattr("sandlot_sandbox.launcher.cgroups.tree.write_file", write)
        with pytest.raises(OSError, match="no memory"):
            tree.make(8)

    there = {folder.name for folder in tree.folders if folder.exists()}
    assert f"{tree.name}.8" not in there
    assert _districts(tree, range(8, 9)) == [f"{tree.name}.8"]
    in_full = 100 if tree.is_v2 else 1024
    assert _weights(tree) == {in_full * 8 // 9}


def _fail(*_: object) -> None:
    raise OSError(12, "no memory")


@needs_root
def test_where_the_engine_may_go_first_there_are_districts(tree: Tree) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)

    most = most_of(find(only="v2" if tree.is_v2 else "v1"), 1 << 22)

    ours = tree.parts["v2"].parent / "sandlot.engine" if tree.is_v2 else None
    goes_first = ours is None or (ours / "cpu.weight").exists()
    assert most == (64 if goes_first else 1)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
