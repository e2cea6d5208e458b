"""Folders of the machine's: whose may be watched, and what is told of them. The kernel
tells of real files; the clock is the test's."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.errors import InvalidParameter, PermissionDenied, Throttled
from sandlot_engine.model.trigger import (
    Directory,
    ObjectFilter,
    Trigger,
    TriggerKind,
)
from sandlot_engine.triggers import directories
from sandlot_engine.triggers.desk import filtered
from sandlot_engine.triggers.directories import QUIET_S, RETRY_S, roots_of
from tests.descriptors import open_files
from tests.fakes.catalog import TENANT
from tests.fakes.triggers import World, world_in
from tests.fakes.waiting import eventually


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    (folder / "in").mkdir(parents=True)
    return folder


@pytest.fixture
async def world(tmp_path: Path, root: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path, roots=roots_of([str(root)])) as world:
        yield world


@pytest.fixture
def watching(world: World) -> Iterator[World]:
    with world.parts.directories.open():
        yield world


async def watch(
    world: World, path: Path, name: str = "inbox", *, by: bool = True, **chosen: Any
) -> Trigger:
    trigger = world.trigger(
        name,
        kind=TriggerKind.DIRECTORY,
        directory=Directory(path=str(path), filter=ObjectFilter(**chosen)),
    )
    made, _ = await world.parts.desk.create(trigger, is_operator=by)
    return made


async def pass_quiet(world: World, seconds: float = QUIET_S) -> None:
    await world.parts.directories.turn()
    world.clock.advance(seconds)
    await world.parts.directories.turn()


def told(world: World) -> list[tuple[str, str, int | None]]:
    """Event, key and size of all that was told, one record each."""
    found = []
    for payload in world.events.payloads:
        (record,) = json.loads(payload)["Records"]
        object_ = record["s3"]["object"]
        found.append((record["eventName"], object_["key"], object_.get("size")))
    return found


# --- who may ----------------------------------------------------------------------


async def test_only_an_operator_makes_one(world: World, root: Path) -> None:
    with pytest.raises(PermissionDenied, match="only an operator makes one"):
        await watch(world, root, by=False)

    made = await watch(world, root / "in")

    assert made.directory is not None
    assert made.directory.path == str(root / "in")


async def test_only_an_operator_changes_its_filter(world: World, root: Path) -> None:
    made = await watch(world, root, suffix=".csv")

    with pytest.raises(PermissionDenied, match="only an operator changes"):
        filtered(made, ObjectFilter())

    changed = filtered(made, ObjectFilter(), is_operator=True)
    assert changed.directory == Directory(path=str(root))


async def test_only_named_folders_are_watched_and_those_in_them(
    world: World, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "watched-not").mkdir()
    (root / "out").symlink_to(tmp_path / "watched-not")
    (root / "file").touch()

    for path in (
        tmp_path,
        tmp_path / "watched-not",
        root / ".." / "watched-not",
        root / "out",
        root / "nothing",
        root / "file",
        Path("/etc"),
    ):
        with pytest.raises(InvalidParameter):
            await watch(world, path)


async def test_without_named_folders_none_is(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        with pytest.raises(InvalidParameter, match="Start the engine with --watch-dir"):
            await watch(world, tmp_path)


def test_what_is_named_has_to_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="is no folder"):
        roots_of([str(tmp_path / "nothing")])


async def test_a_folder_that_became_a_link_is_not_followed(
    watching: World, root: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    made = await watch(watching, root / "in")
    (root / "in").rmdir()
    (root / "in").symlink_to(elsewhere)
    await pass_quiet(watching, RETRY_S)

    (elsewhere / "secret.txt").write_text("x")
    await pass_quiet(watching)

    assert watching.events.taken == []
    assert watching.triggers.is_current(made)


# --- what is told -----------------------------------------------------------------


async def test_a_file_that_was_written_is_told_as_an_object(
    watching: World, root: Path
) -> None:
    await watch(watching, root / "in")

    (root / "in" / "a b.txt").write_text("hello")
    await pass_quiet(watching)

    (payload,) = watching.events.payloads
    assert json.loads(payload) == {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "sandlot:directory",
                "awsRegion": "eu-north-1",
                "eventTime": "2026-05-17T12:30:00Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "inbox",
                    "bucket": {"name": str(root / "in")},
                    "object": {"key": "a+b.txt", "size": 5},
                },
            }
        ]
    }


async def test_moves_and_deletions_are_told(watching: World, root: Path) -> None:
    await watch(watching, root / "in")
    (root / "new").write_text("123")
    (root / "new").rename(root / "in" / "new")
    await pass_quiet(watching)
    (root / "in" / "new").rename(root / "in" / "newer")
    await pass_quiet(watching)
    (root / "in" / "newer").unlink()
    await pass_quiet(watching)

    assert told(watching) == [
        ("ObjectCreated:Put", "new", 3),
        ("ObjectRemoved:Delete", "new", None),
        ("ObjectCreated:Put", "newer", 3),
        ("ObjectRemoved:Delete", "newer", None),
    ]


async def test_a_file_that_is_written_again_and_again_has_one_event(
    watching: World, root: Path
) -> None:
    await watch(watching, root / "in")
    file = root / "in" / "growing"

    for size in range(1, 6):
        file.write_text("x" * size)
        await watching.parts.directories.turn()
        watching.clock.advance(QUIET_S / 2)
    assert told(watching) == []
    await pass_quiet(watching)

    assert told(watching) == [("ObjectCreated:Put", "growing", 5)]


async def test_filters_choose_files(watching: World, root: Path) -> None:
    await watch(watching, root / "in", events=("ObjectCreated:*",), suffix=".csv")

    for name in ("a.csv", "a.csv.tmp"):
        (root / "in" / name).touch()
    await pass_quiet(watching)
    (root / "in" / "a.csv").unlink()
    await pass_quiet(watching)

    assert told(watching) == [("ObjectCreated:Put", "a.csv", 0)]


async def test_folders_links_and_what_is_gone_again_are_not_files(
    watching: World, root: Path
) -> None:
    await watch(watching, root / "in", events=("ObjectCreated:*",))

    (root / "in" / "folder").mkdir()
    (root / "in" / "folder" / "file").touch()
    (root / "link").symlink_to("/etc/passwd")
    (root / "link").rename(root / "in" / "link")
    (root / "in" / "brief").touch()
    (root / "in" / "brief").unlink()
    await pass_quiet(watching)

    assert told(watching) == []


async def test_two_triggers_of_one_folder_are_both_told(
    watching: World, root: Path
) -> None:
    await watch(watching, root / "in", "one")
    await watch(watching, root / "in", "two")
    (root / "in" / "a").touch()
    await pass_quiet(watching)
    await watching.triggers.delete(TENANT, "one")
    (root / "in" / "b").touch()
    await pass_quiet(watching)
    await pass_quiet(watching)

    assert [key for _, key, _ in told(watching)] == ["a", "a", "b"]


async def test_one_that_is_paused_is_told_nothing(watching: World, root: Path) -> None:
    await watch(watching, root / "in")
    await watching.triggers.change(
        TENANT, "inbox", change=lambda old: replace(old, is_enabled=False)
    )
    (root / "in" / "a").touch()
    await pass_quiet(watching)

    await watching.triggers.change(
        TENANT, "inbox", change=lambda old: replace(old, is_enabled=True)
    )
    await pass_quiet(watching)
    (root / "in" / "b").touch()
    await pass_quiet(watching)

    assert [key for _, key, _ in told(watching)] == ["b"]


async def test_a_folder_that_comes_back_is_watched_again(
    watching: World, root: Path
) -> None:
    await watch(watching, root / "in")
    (root / "in").rmdir()
    await pass_quiet(watching)
    (root / "in").mkdir()
    await pass_quiet(watching, RETRY_S)

    (root / "in" / "a").touch()
    await pass_quiet(watching)

    assert [key for _, key, _ in told(watching)] == ["a"]


# --- bounds -----------------------------------------------------------------------


async def test_what_nobody_takes_is_offered_again_and_given_up(
    watching: World, root: Path
) -> None:
    await watch(watching, root / "in")
    full = Throttled("full", reason="x", limit=1, retry_after_s=1)
    watching.events.refusal = full
    (root / "in" / "a").touch()
    await pass_quiet(watching)
    await pass_quiet(watching, RETRY_S)
    assert watching.events.offered == 2

    watching.events.refusal = None
    await pass_quiet(watching, RETRY_S)
    assert [key for _, key, _ in told(watching)] == ["a"]

    watching.events.refusal = full
    (root / "in" / "b").touch()
    await pass_quiet(watching)
    await pass_quiet(watching, directories.GIVE_UP_S)
    assert watching.parts.directories.dropped == 1


async def test_files_wait_up_to_a_bound_and_the_rest_is_counted(
    watching: World, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "MAX_WAITING", 3)
    await watch(watching, root / "in")

    for number in range(5):
        (root / "in" / f"{number}").touch()
    await pass_quiet(watching)

    assert len(told(watching)) == 3
    assert watching.parts.directories.dropped == 2


@contextmanager
def descriptors_kept() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


async def test_descriptors_are_given_back(world: World, root: Path) -> None:
    with descriptors_kept(), world.parts.directories.open():
        await watch(world, root / "in")
        await world.triggers.change(
            TENANT, "inbox", change=lambda old: replace(old, description="x")
        )
        for path in (root / "nothing", Path("/etc")):
            with pytest.raises(InvalidParameter):
                await watch(world, path, "other")


# --- by itself ----------------------------------------------------------------------


async def test_running_it_tells_of_a_file_as_soon_as_it_is_quiet(
    world: World, root: Path
) -> None:
    others = asyncio.all_tasks()
    async with world.parts.directories.running():
        await watch(world, root / "in")
        (root / "in" / "a").touch()

        async def is_told() -> bool:
            world.clock.advance(QUIET_S)
            return bool(told(world))

        await eventually(is_told)

    assert asyncio.all_tasks() <= others
