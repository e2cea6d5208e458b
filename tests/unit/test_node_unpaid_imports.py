"""Imports that nobody pays for, of one version and of all of a tenant."""

import asyncio

import pytest

from sandlot_engine.node import hosted as hosted_module
from sandlot_engine.node import node as node_module
from sandlot_engine.node import second_looks
from sandlot_engine.node.hosted import Hosted
from sandlot_engine.node.unpaid_imports import LOST, TOO_MANY, Allowance
from sandlot_sandbox.errors import ZygoteLost
from tests.fakes.nodes import World, begun, until, world_of


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
    monkeypatch.setattr(hosted_module, "LOST_S", 3.0)
    hosted = world.host()
    for _ in range(3):
        await _imports_and_ends(world, hosted)
    await _imports_and_ends(world, hosted)

    assert hosted.reason == LOST
    assert world.learnt == [LOST]
    preparing = begun(hosted.prepare())
    zygote = await world.made()
    zygote.be_ready()
    assert await preparing == LOST
    assert not zygote.imports


async def test_one_that_ends_at_once_counts_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_module, "LOST_S", 0.0)
    hosted = world.host()
    preparing = begun(hosted.prepare())
    zygote = await world.made()

    zygote.be_ready()
    zygote.die()

    await preparing
    assert hosted.reason == LOST


async def test_what_ends_with_its_launcher_or_by_us_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_module, "LOST_S", 0.0)
    lost, zygote = await world.live("lost")
    zygote.lost_with_launcher = True
    zygote.die()
    resting, zygote = await world.live("resting")
    resting.rest()
    zygote.die()

    assert (lost.reason, resting.reason) == ("", "")


async def test_a_tenant_has_so_much_of_all_its_imports_for_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deploys without end, whatever becomes of it, computes in them."""
    monkeypatch.setattr(node_module, "OF_TENANT_S", 0.0)
    first, zygote = await world.live("first", "000000000002")
    first.retire()
    zygote.die()

    second, zygote = await world.live("second", "000000000002")
    other, zygote_of_other = await world.live("other", "000000000003")

    assert (second.reason, zygote.imports) == (TOO_MANY, False)
    assert world.learnt == [TOO_MANY]
    assert (other.reason, zygote_of_other.imports) == ("", True)


async def test_an_import_counts_that_comes_to_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "OF_TENANT_S", 0.0)
    failing = begun(world.host("failing").prepare())
    (await world.made()).fail(ZygoteLost("it ended"))
    (await world.made()).be_ready()
    assert "it ended" in await failing

    second, _ = await world.live("second")

    assert second.reason == TOO_MANY


async def test_once_there_is_some_again_they_are_cloned_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_looks, "AGAIN_S", 0.0)
    allowance = Allowance(0.0, 0.0)
    monkeypatch.setattr(node_module, "Allowance", lambda *_: allowance)
    allowance.take(1.0)
    hosted, zygote = await world.live("resize")
    assert (hosted.reason, zygote.imports) == (TOO_MANY, False)
    for _ in range(100):
        await asyncio.sleep(0)
    assert world.zygotes.made.empty(), "looking again would be one more"

    monkeypatch.setattr(allowance, "_taken_s", 0.0)
    again = await world.made()
    assert again.imports
    again.be_ready()
    await until(lambda: hosted.reason == "")


async def test_nor_does_anybody_have_any_number_of_quick_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_module, "LOST_S", 2.0)
    hosted = world.host()
    await _imports_and_ends(world, hosted)
    await _imports_and_ends(world, hosted)
    assert hosted.reason == ""

    await _imports_and_ends(world, hosted)

    assert hosted.reason == LOST


def test_so_much_is_for_nothing() -> None:
    clock = Clock()
    allowance = Allowance(30.0, 0.01, clock)

    assert not any(allowance.take(10.0) for _ in range(3))
    assert allowance.take(10.0)
    assert allowance.is_used_up


def test_time_gives_back_a_part_of_itself() -> None:
    clock = Clock()
    allowance = Allowance(30.0, 0.01, clock)
    allowance.take(40.0)

    clock.now += 999.0
    assert allowance.is_used_up
    clock.now += 1.0
    assert not allowance.is_used_up

    clock.now += 1_000_000.0  # more than was taken is not given back
    assert not allowance.take(30.0)
    assert allowance.take(1.0)
