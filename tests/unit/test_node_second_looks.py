"""Imports that are tried again, as what they came to may not have been their doing."""

import asyncio
from dataclasses import replace

import pytest

from sandlot_engine.node import second_looks
from sandlot_engine.node.hosted import Hosted
from sandlot_sandbox.errors import ZygoteLost
from sandlot_sandbox.host.recipe import Obstacle
from tests.fakes import things
from tests.fakes.nodes import World, begun, until, world_of
from tests.fakes.zygotes import FakeZygote

LATE = "the import took longer than 10 s"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(second_looks, "AGAIN_S", 0.0)
    return world_of(monkeypatch)


async def _comes_late(world: World) -> None:
    """The next look, and its zygote is gone."""
    zygote = await world.made()
    assert zygote.imports
    zygote.be_ready(LATE, Obstacle.LATE)
    await until(lambda: zygote.is_killed)
    zygote.die()


async def _late(world: World, name: str = "resize") -> tuple[Hosted, FakeZygote]:
    """A version whose import came late, and the zygote that does not import."""
    hosted = world.host(name)
    preparing = begun(hosted.prepare())
    await _comes_late(world)
    second = await world.made()
    second.be_ready()
    assert await preparing == LATE
    assert not second.imports
    return hosted, second


def _of_another_engine(world: World, *, snap_start: bool = False) -> Hosted:
    """A version that an engine before this one found not to be safe."""
    revision = things.revision("rev-old")
    config = replace(revision.config, snap_start=snap_start)
    revision = replace(revision, config=config)
    function = things.function("old", serving=revision, version="1")
    function = replace(function, fork_safe=False, fork_safety_reason="an event loop")
    return world.node.host(function, revision)


async def test_one_that_came_late_is_tried_again_and_then_cloned(world: World) -> None:
    hosted, without = await _late(world)
    assert hosted.is_live, "it serves meanwhile"

    again = await world.made()
    assert again.imports
    again.be_ready()
    await until(lambda: hosted.reason == "")

    forked = await hosted.fork(lambda: None)
    assert forked is not None
    assert forked[1] is again  # type: ignore[comparison-overlap]
    assert hosted.is_cloned(forked[1])
    assert without.is_leaving
    assert world.learnt == [""]


async def test_it_is_tried_until_it_is_known(world: World) -> None:
    hosted, without = await _late(world)

    for _ in range(2):
        await _comes_late(world)
    (await world.made()).fail(ZygoteLost("no room for a jail", started=False))
    (await world.made()).be_ready("a thread")
    await until(lambda: hosted.reason == "a thread")

    await _nothing_more_starts(world)
    assert hosted.is_live
    assert not without.is_leaving
    assert world.learnt == ["a thread"]


async def test_each_time_it_is_left_alone_for_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_looks, "LONGEST_S", 10.0)
    hosted, _ = await _late(world)
    look = hosted._second_look  # noqa: SLF001 - the clock is the loop's
    look._again_s = 3.0  # noqa: SLF001
    waits = []

    for _ in range(3):
        await _comes_late(world)
        await until(lambda: not look.is_looking)
        waits.append(look._again_s)  # noqa: SLF001
        assert look._timer is not None  # noqa: SLF001
        look._timer.cancel()  # noqa: SLF001
        look._begin()  # noqa: SLF001
    (await world.made()).be_ready()
    await until(lambda: hosted.reason == "")

    assert waits == [6.0, 10.0, 10.0]


async def test_one_that_may_not_be_cloned_is_not_tried_again(world: World) -> None:
    hosted = world.host()
    preparing = begun(hosted.prepare())
    (await world.made()).be_ready("a thread")
    (await world.made()).be_ready()
    await preparing

    await _nothing_more_starts(world)
    assert world.learnt == []


async def test_what_an_engine_before_has_found_is_looked_at_once_more(
    world: World,
) -> None:
    hosted = _of_another_engine(world)
    preparing = begun(hosted.prepare())
    first = await world.made()
    first.be_ready()
    assert await preparing == "an event loop"
    assert not first.imports

    (await world.made()).be_ready("an event loop")

    await _nothing_more_starts(world)
    assert hosted.is_live
    assert world.learnt == []


async def test_a_version_whose_snapshot_is_doubted_serves_on(world: World) -> None:
    hosted = _of_another_engine(world, snap_start=True)
    preparing = begun(hosted.prepare())
    (await world.made()).be_ready()
    await preparing

    await _comes_late(world)
    (await world.made()).be_ready("it raised", Obstacle.FAILED)
    await until(lambda: hosted.reason == "it raised")

    assert await hosted.prepare() == "it raised"


async def test_it_takes_nobody_s_place(world: World) -> None:
    hosted, _ = await _late(world)
    look = await world.made()
    look.be_ready(LATE, Obstacle.LATE)
    # Full, as each has two of four.
    for name, tenant in (("one", "a"), ("two", "b")):
        await world.live(name, tenant)

    assert not world.node.has_place(hosted)
    look.die()
    await until(lambda: world.node.has_place(hosted))


async def test_only_so_many_are_tried_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandlot_engine.node.node.AT_ONCE", 1)
    hosted, _ = await _late(world)
    look = await world.made()
    other, _ = await world.live("other", "globex")

    assert hosted.is_looking_again
    assert not world.node.has_place(other)
    look.be_ready()
    await until(lambda: world.node.has_place(other))


async def test_a_version_that_is_gone_is_not_tried_again(world: World) -> None:
    hosted, _ = await _late(world)
    look = await world.made()

    world.node.retire(hosted.revision.id)

    await until(lambda: look.is_killed)
    assert not hosted.is_live


async def test_a_start_that_a_look_overtakes_is_not_in_its_way(world: World) -> None:
    hosted, without = await _late(world)
    look = await world.made()
    without.die()
    preparing = begun(hosted.prepare())
    slow = await world.made()
    assert not slow.imports
    look.be_ready()
    await until(lambda: hosted.reason == "")
    slow.be_ready()

    assert await preparing == ""
    assert hosted.is_live


async def _nothing_more_starts(world: World) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.zygotes.made.empty()
