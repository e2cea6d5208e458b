"""What makes room for a new zygote, and what is kept."""

from typing import Any

import pytest

from sandlot_engine.errors import Throttled
from tests.fakes.nodes import World, begun, until, world_of


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch)


async def test_a_new_version_takes_the_place_of_the_least_recently_used(
    world: World,
) -> None:
    first, _ = await world.live("first")
    second, stalest = await world.live("second")
    await first.fork(lambda: None)

    preparing = begun(world.host("third").prepare())
    await until(lambda: not second.is_live)

    assert stalest.is_killed
    assert first.is_live
    preparing.cancel()


async def test_a_place_is_free_when_its_zygote_is_dead_and_not_before(
    world: World,
) -> None:
    _, stalest = await world.live("first")
    await world.live("second")
    preparing = begun(world.host("third").prepare())
    await until(lambda: stalest.is_killed)
    assert world.node.zygotes == 2, "nothing starts while it is still dying"

    stalest.die()
    (await world.made()).be_ready()

    assert await preparing == ""
    assert world.node.zygotes == 2


async def test_a_version_that_is_started_again_needs_a_place_like_a_new_one(
    world: World,
) -> None:
    first, zygote = await world.live("first")
    zygote.die()
    _, stalest = await world.live("second")
    await world.live("third")

    preparing = begun(first.prepare())
    await until(lambda: stalest.is_killed)
    stalest.die()
    (await world.made()).be_ready()
    await preparing

    assert world.node.zygotes == 2


async def test_what_is_at_work_makes_no_room(world: World) -> None:
    for name in ("first", "second"):
        hosted, _ = await world.live(name)
        forked: Any = await hosted.fork(lambda: None)
        forked[0].is_usable = False

    with pytest.raises(Throttled, match="2 functions in memory of 2 allowed"):
        await world.host("third").prepare()

    assert world.node.zygotes == 2


async def test_an_idle_instance_is_of_no_use_from_the_moment_it_makes_room(
    world: World,
) -> None:
    first, _ = await world.live("first")
    forked: Any = await first.fork(lambda: None)
    second, _ = await world.live("second")
    busy: Any = await second.fork(lambda: None)
    busy[0].is_usable = False

    preparing = begun(world.host("third").prepare())
    await until(lambda: not first.is_live)

    assert forked[0].is_stopped, "it would be killed under the next invocation"
    assert not busy[0].is_stopped
    preparing.cancel()


async def test_a_tenant_has_half_of_the_places_and_others_the_rest(
    world: World,
) -> None:
    for name in ("first", "second"):
        hosted, _ = await world.live(name)
        forked: Any = await hosted.fork(lambda: None)
        forked[0].is_usable = False

    with pytest.raises(Throttled, match="this tenant has 2"):
        await world.host("third").prepare()
    others, _ = await world.live("other", "globex")

    assert others.is_live
    assert world.node.zygotes == 3


async def test_who_has_the_most_places_makes_room_first(world: World) -> None:
    stale, _ = await world.live("stale", "initech")
    other, _ = await world.live("other", "globex")
    first, stalest = await world.live("first")
    second, _ = await world.live("second")

    preparing = begun(world.host("new", "globex").prepare())
    await until(lambda: stalest.is_killed)

    assert not first.is_live
    assert all(hosted.is_live for hosted in (stale, other, second))
    preparing.cancel()


async def test_what_is_kept_makes_no_room(world: World) -> None:
    kept, _ = await world.live("kept", "initech")
    other, _ = await world.live("other", "globex")
    await world.live("more", "globex")
    await world.live("last", "initech")
    world.node.keep("initech", "rev-of-kept", is_kept=True)

    preparing = begun(world.host("new", "hooli").prepare())
    await until(lambda: not other.is_live)
    preparing.cancel()

    assert kept.is_live


async def test_what_is_kept_no_more_makes_room_again(world: World) -> None:
    kept, zygote = await world.live("kept")
    await world.live("other")
    world.node.keep("1", "rev-of-kept", is_kept=True)
    world.node.keep("1", "rev-of-kept", is_kept=False)

    preparing = begun(world.host("new").prepare())
    await until(lambda: zygote.is_killed)

    assert not kept.is_live
    preparing.cancel()


async def test_a_tenant_cannot_keep_all_of_its_places(world: World) -> None:
    await world.live("kept")
    _, zygote = await world.live("one too many")
    for name in ("kept", "one too many"):
        world.node.keep("1", f"rev-of-{name}", is_kept=True)

    preparing = begun(world.host("new").prepare())
    await until(lambda: zygote.is_killed)

    preparing.cancel()


async def test_places_of_a_tenant_that_is_gone_are_forgotten(world: World) -> None:
    for number in range(4):
        _, zygote = await world.live(f"number {number}", f"tenant {number}")
        zygote.die()

    assert not world.node._held  # noqa: SLF001 - nobody else tells


async def test_what_is_not_expected_soon_makes_room_first(world: World) -> None:
    regular, zygote = await world.live("regular")
    other, _ = await world.live("other")
    other.last_used -= 1_000
    world.node.note_away(frozenset([regular.revision.id]))

    world.node.shed(0.5)

    assert zygote.is_killed
    assert other.is_live


async def test_what_takes_long_to_start_is_spared_for_longer(world: World) -> None:
    slow, _ = await world.live("slow")
    quick, quick_zygote = await world.live("quick")
    slow.start_s, quick.start_s = 10.0, 0.1
    slow.last_used -= 50
    quick.last_used -= 5

    preparing = begun(world.host("third").prepare())
    await until(lambda: quick_zygote.is_killed)

    assert slow.is_live
    preparing.cancel()


async def test_where_memory_is_short_what_has_no_instances_rests(world: World) -> None:
    first, zygote = await world.live("first")
    second, other = await world.live("second")
    await second.fork(lambda: None)

    world.node.shed(100.0)

    assert zygote.is_killed
    assert not first.is_live
    assert not other.is_killed
    assert second.is_live
