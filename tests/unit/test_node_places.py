"""Who gets the next place for a zygote where many wait, and who makes room for it."""

import asyncio
from typing import Any

import pytest

from sandlot_engine.model.function import Function
from sandlot_engine.node import node
from sandlot_engine.node.hosted import Hosted
from sandlot_engine.node.instances import NodeMachine
from tests.fakes.nodes import WAIT_S, World, begun, until, world_of


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch, room_s=WAIT_S)


async def _asked() -> None:
    """Whoever was started has come to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _busy(world: World, name: str, tenant: str) -> tuple[Any, Any]:
    """An instance at work, and its zygote."""
    hosted, zygote = await world.live(name, tenant)
    forked: Any = await hosted.fork(lambda: None)
    forked[0].is_usable = False
    return forked[0], zygote


async def _all_busy(world: World) -> list[tuple[Any, Any]]:
    names = (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two"))
    return [await _busy(world, name, tenant) for name, tenant in names]


def _of(hosted: Hosted) -> tuple[Function, Any]:
    return hosted.function, hosted.revision


async def test_who_waits_has_room_made_as_soon_as_somebody_can(world: World) -> None:
    (instance, zygote), *_ = await _all_busy(world)
    late = world.host("late", "three")
    preparing = begun(late.prepare())
    await _asked()

    instance.is_usable = True
    await until(lambda: zygote.is_killed)
    zygote.die()
    (await world.made()).be_ready()
    await preparing

    assert late.is_live


async def test_those_who_wait_have_only_so_many_make_room(world: World) -> None:
    idle = [
        await world.live(name, tenant)
        for name, tenant in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two"))
    ]

    preparing = begun(world.host("late", "three").prepare())
    await until(lambda: any(zygote.is_killed for _, zygote in idle))
    # It is looked again, as its zygote takes its time to die.
    others = begun(world.host("later", "four").prepare())
    await until(lambda: sum(zygote.is_killed for _, zygote in idle) == 2)

    assert sum(not hosted.is_live for hosted, _ in idle) == 2
    preparing.cancel()
    others.cancel()


async def test_what_was_started_for_somebody_is_left_to_them(world: World) -> None:
    machine = NodeMachine(world.node)
    started: list[tuple[Hosted, Any]] = []
    for name, tenant in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")):
        hosted = world.host(name, tenant)
        ready = begun(machine.make_ready(*_of(hosted)))
        zygote = await world.made()
        zygote.be_ready()
        await ready
        started.append((hosted, zygote))
    waiting = [begun(world.host(f"{n}", f"{n}").prepare()) for n in range(8)]
    await _asked()
    assert not any(zygote.is_killed for _, zygote in started), "nobody has forked it"

    hosted, forked = started[2]
    instance: Any = await machine.start(*_of(hosted), on_death=lambda: None)
    assert instance is not None
    await until(lambda: forked.is_killed)

    assert sum(zygote.is_killed for _, zygote in started) == 1
    for task in waiting:
        task.cancel()


async def test_whose_caller_waits_comes_before_events(world: World) -> None:
    (_, zygote), *_ = await _all_busy(world)
    machine = NodeMachine(world.node)
    events = [
        begun(machine.make_ready(*_of(world.host(f"event {n}", f"{n}"))))
        for n in range(20)
    ]
    awaited = begun(
        machine.make_ready(*_of(world.host("call", "last")), is_awaited=True)
    )
    await _asked()

    zygote.die()
    made = await world.made()

    assert made.recipe.identity.name == "call"
    for task in (*events, awaited):
        task.cancel()


async def test_who_has_fewer_places_gets_the_next(world: World) -> None:
    (_, zygote), *_ = await _all_busy(world)
    more = begun(world.host("more", "two").prepare())
    first = begun(world.host("first", "three").prepare())
    await _asked()

    zygote.die()
    made = await world.made()

    assert made.recipe.identity.name == "first"
    for task in (more, first):
        task.cancel()


async def test_only_some_are_started_at_once_for_events(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "FOR_EVENTS", 1)
    machine = NodeMachine(world.node)
    first, second = (
        begun(machine.make_ready(*_of(world.host(f"event {n}", f"{n}"))))
        for n in range(2)
    )
    event = await world.made()
    awaited = begun(
        machine.make_ready(*_of(world.host("call", "last")), is_awaited=True)
    )
    call = await world.made()

    assert call.recipe.identity.name == "call"
    assert world.zygotes.made.empty()
    event.be_ready()
    await first
    assert (await world.made()).recipe.identity.name == "event 1"
    for task in (second, awaited):
        task.cancel()
