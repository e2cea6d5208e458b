"""SnapStart: the import is what a version is made of."""

from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.errors import Refusal
from sandlot_engine.node import snapshots
from sandlot_engine.node.hosted import Hosted
from sandlot_sandbox.host.recipe import Obstacle
from tests.fakes import things
from tests.fakes.nodes import World, begun, world_of


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch)


def _snapshot(world: World, *, prepared: bool = False, timeout_s: int = 3) -> Hosted:
    revision = things.revision("rev-snap")
    config = replace(revision.config, snap_start=True, timeout_s=timeout_s)
    revision = replace(revision, config=config)
    serving, pending = (revision, None) if prepared else (None, revision)
    function = things.function("snap", serving=serving, pending=pending, version="1")
    return world.node.host(function, revision)


@pytest.mark.parametrize(("timeout_s", "import_s"), [(3, 130.0), (900, 900.0)])
async def test_a_snapshots_import_has_its_time_and_says_what_it_is(
    world: World, timeout_s: int, import_s: float
) -> None:
    preparing = begun(_snapshot(world, timeout_s=timeout_s).prepare())

    zygote = await world.made()
    zygote.be_ready()

    assert await preparing == ""
    assert zygote.recipe.import_s == import_s
    environment: Any = zygote.recipe.settings["environment"]
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"


async def test_what_may_not_be_cloned_has_no_snapshot_and_is_started_on_demand(
    world: World,
) -> None:
    preparing = begun(_snapshot(world).prepare())

    (await world.made()).be_ready("a thread")
    second = await world.made()
    second.be_ready()

    assert await preparing == "a thread"
    environment: Any = second.recipe.settings["environment"]
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"


@pytest.mark.parametrize(
    ("obstacle", "code"),
    [
        (Obstacle.FAILED, "FunctionError.RuntimeInitError"),
        (Obstacle.LATE, "FunctionError.InitTimeout"),
    ],
)
async def test_an_import_that_fails_makes_no_version(
    world: World, obstacle: Obstacle, code: str
) -> None:
    preparing = begun(_snapshot(world).prepare())

    (await world.made()).be_ready("the reason", obstacle)

    with pytest.raises(Refusal, match="the reason") as refused:
        await preparing
    assert refused.value.reason == code


async def test_a_snapshot_that_cannot_be_taken_again_is_tried_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = _snapshot(world, prepared=True)
    preparing = begun(hosted.prepare())
    (await world.made()).be_ready("the reason", Obstacle.FAILED)
    with pytest.raises(Refusal) as refused:
        await preparing

    with pytest.raises(Refusal) as at_once:
        await hosted.prepare()

    assert refused.value.reason == "SnapStartRegenerationFailureException"
    assert at_once.value is refused.value
    assert world.zygotes.made.empty()
    monkeypatch.setattr(snapshots, "AGAIN_S", 0.0)
    preparing = begun(hosted.prepare())
    (await world.made()).be_ready()
    assert await preparing == ""


# The engine's end.
