"""How many events are kept: of a tenant, of those that are over, of dead letters."""

import pytest

from sandlot_engine.errors import NotFound, Throttled
from sandlot_engine.events import depths as depths_module
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import EventState
from tests.fakes.event_queue import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [
        ("MAX_QUEUED", 2, "2 events waiting of 2 allowed"),
        ("MAX_QUEUED_BYTES", 13, "12 bytes of events waiting of 13 allowed"),
        ("MAX_ALL_QUEUED_BYTES", 13, "the engine already has 12 bytes of events"),
    ],
)
async def test_a_tenants_events_have_bounds(
    world: World, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, says: str
) -> None:
    monkeypatch.setattr(depths_module, bound, value)
    gate = world.hold("f")
    async with world.engine():
        await world.enqueue("a", size=6)
        await world.enqueue("b", size=6)

        with pytest.raises(Throttled, match=says):
            await world.enqueue("c", size=6)
        await world.enqueue("theirs", tenant="globex", size=1)
        gate.set()
        await world.over("a")
        await world.over("b")
        await world.enqueue("c", size=6)
        await world.over("c")


async def test_what_is_over_is_kept_as_far_as_its_bounds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depths_module, "MAX_ENDED", 8)
    async with world.engine() as queue:
        for number in range(30):
            await world.enqueue(str(number))
            await world.until(lambda: not queue.depths.queued)
        await world.until(lambda: len(world.disk.all) <= 8)

        with pytest.raises(NotFound, match="over too long ago"):
            await world.event("0")
        assert (await world.event("29")).state is EventState.SUCCEEDED


async def test_dead_letters_are_bounded_and_what_goes_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depths_module, "MAX_DEAD_BYTES", 10)
    world.settings = Settings(is_switched_off=True)
    async with world.engine() as queue:
        for number in range(4):
            await world.enqueue(str(number), size=4)
            await world.until(lambda: not queue.depths.queued)
        await world.until(lambda: queue.counts["dead_dropped"] == 2)

        assert [e.request_id for e in world.disk.all.values()] == ["2", "3"]
