"""Imports that are done again because their zygotes have ended by themselves."""

import pytest

from sandlot_engine.node import lost_imports
from sandlot_engine.node.hosted import Hosted
from sandlot_engine.node.lost_imports import (
    BACK,
    LEAST_S,
    MOST_S,
    REASON,
    LostImports,
)
from tests.fakes.nodes import World, begun, world_of


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch)


async def _imports_and_ends(world: World, hosted: Hosted) -> None:
    preparing = begun(hosted.prepare())
    zygote = await world.made()
    assert zygote.imports
    zygote.be_ready()
    assert await preparing == ""
    zygote.die()


async def test_one_that_ends_again_and_again_is_left_to_its_instances(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who pay for it: else it would be done for nothing, for each invocation."""
    hosted = world.host()
    for _ in range(3):
        await _imports_and_ends(world, hosted)
    monkeypatch.setattr(lost_imports, "MOST_S", 0.0)
    await _imports_and_ends(world, hosted)

    assert hosted.reason == REASON
    assert world.learnt == [REASON]
    preparing = begun(hosted.prepare())
    zygote = await world.made()
    zygote.be_ready()
    assert await preparing == REASON
    assert not zygote.imports


async def test_one_that_ends_at_once_counts_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_imports, "MOST_S", 0.0)
    hosted = world.host()
    preparing = begun(hosted.prepare())
    zygote = await world.made()

    zygote.be_ready()
    zygote.die()

    await preparing
    assert hosted.reason == REASON


async def test_what_ends_with_its_launcher_or_by_us_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_imports, "MOST_S", 0.0)
    lost, zygote = await world.live("lost")
    zygote.lost_with_launcher = True
    zygote.die()
    resting, zygote = await world.live("resting")
    resting.rest()
    zygote.die()

    assert (lost.reason, resting.reason) == ("", "")


def test_so_much_of_them_is_for_nothing() -> None:
    clock = Clock()
    lost = LostImports(clock)

    assert not any(lost.note(10.0) for _ in range(int(MOST_S / 10.0)))
    assert lost.note(10.0)

    clock.now += 20.0 / BACK
    assert not lost.note(10.0)
    assert lost.note(10.0)


def test_nor_does_anybody_have_any_number_of_quick_ones() -> None:
    lost = LostImports(Clock())

    assert not any(lost.note(0.001) for _ in range(int(MOST_S / LEAST_S)))
    assert lost.note(0.001)
