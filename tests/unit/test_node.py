"""Versions on a machine: what is remembered of a start, and how many zygotes live."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.errors import (
    PermissionDenied,
    Refusal,
    Throttled,
    Unavailable,
)
from sandlot_engine.model.function import Function, InitMode, LayerUse, Revision
from sandlot_engine.model.network import Network
from sandlot_engine.node import hosted as module
from sandlot_engine.node import node as node_module
from sandlot_engine.node import snapshots
from sandlot_engine.node.hosted import Hosted
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.node import Node
from sandlot_sandbox.errors import StartFailed, ZygoteLost
from sandlot_sandbox.host.recipe import Obstacle
from tests.fakes import things
from tests.fakes.zygotes import FakeZygote, FakeZygotes

WAIT_S = 5.0


class World:
    """A node that has a launcher, with room for four zygotes: two of one tenant."""

    def __init__(self, zygotes: FakeZygotes, *, room_s: float = 0.05) -> None:
        self.zygotes = zygotes
        self.launchers = Launchers()
        self.node = Node(
            self.launchers,
            grant_network=self._grant,
            unpack=self._unpack,
            printed=lambda *_: None,
            region="us-east-1",
            max_zygotes=4,
            room_s=room_s,
        )
        self.has_extensions = False
        self.may_unpack = asyncio.Event()
        self.may_unpack.set()

    def _grant(self, _: str, network: Network) -> tuple[str, ...]:
        if network is Network.HOST:
            raise PermissionDenied("not any more")
        return ("10.0.0.0/8",) if network is Network.EGRESS else ()

    async def _unpack(self, _: Revision) -> bool:
        await self.may_unpack.wait()
        return self.has_extensions

    def host(self, name: str = "resize", tenant: str = "", **settings: Any) -> Hosted:
        revision = things.revision(f"rev-of-{name}")
        config = replace(revision.config, **settings)
        revision = replace(revision, config=config)
        function: Function = things.function(name, serving=revision)
        if tenant:
            function = replace(function, tenant_id=tenant)
        return self.node.host(function, revision)

    async def made(self) -> FakeZygote:
        """The next zygote that somebody starts."""
        async with asyncio.timeout(WAIT_S):
            return await self.zygotes.made.get()

    async def live(self, name: str, tenant: str = "") -> tuple[Hosted, FakeZygote]:
        hosted = self.host(name, tenant)
        preparing = _task(hosted.prepare())
        zygote = await self.made()
        zygote.be_ready()
        await preparing
        return hosted, zygote


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    zygotes = FakeZygotes()
    monkeypatch.setattr(module, "Zygote", zygotes)
    made = World(zygotes)

    async def current() -> None:
        """There is always one, and nobody asks it for anything."""

    monkeypatch.setattr(made.launchers, "current", current)
    return made


def _task(work: Any) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)


async def test_a_zygote_that_is_lost_is_told_of_but_not_when_all_are(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    _, lost = await world.live("resize")
    _, stopped = await world.live("other")

    lost.die()
    world.launchers.is_stopping = True
    stopped.die()

    (told,) = [each for each in caplog.messages if "lost its zygote" in each]
    assert "resize" in told


# What a start that fails is taken for.


async def test_a_jail_that_was_never_complete_is_our_failure(world: World) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())

    for _ in range(2):
        (await world.made()).fail(ZygoteLost("no room for a jail", started=False))

    with pytest.raises(Unavailable, match="no room for a jail"):
        await preparing
    assert hosted.reason == ""
    assert world.node.zygotes == 0


async def test_an_interpreter_that_does_not_start_is_our_failure(world: World) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())

    for _ in range(2):
        zygote = await world.made()
        zygote.fail(StartFailed("the interpreter did not start within 20 s"))
        assert zygote.imports

    with pytest.raises(Unavailable, match="did not start within 20 s"):
        await preparing
    assert hosted.reason == ""


async def test_an_import_that_ends_its_process_is_left_to_the_instances(
    world: World,
) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())

    (await world.made()).fail(ZygoteLost("exit status 3"))
    second = await world.made()
    second.be_ready()

    assert not second.imports
    assert await preparing == "the import ended the process: exit status 3"


async def test_an_import_that_was_killed_once_is_tried_again(world: World) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())

    (await world.made()).fail(ZygoteLost("killed by signal 9", killed=True))
    second = await world.made()
    second.be_ready()

    assert second.imports
    assert await preparing == hosted.reason == ""


async def test_an_import_that_is_killed_again_is_left_to_the_instances(
    world: World,
) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())

    for _ in range(2):
        (await world.made()).fail(ZygoteLost("killed by signal 9", killed=True))
    (await world.made()).be_ready()

    assert await preparing == "the import ended the process: killed by signal 9"


async def test_an_unsafe_import_is_left_to_the_instances(world: World) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())

    first = await world.made()
    first.be_ready("a thread")
    second = await world.made()
    second.be_ready()

    assert (first.is_killed, second.is_killed) == (True, False)
    assert await preparing == "a thread"
    assert hosted.is_live


async def test_a_zygote_that_does_not_import_and_is_not_ready_is_our_failure(
    world: World,
) -> None:
    hosted = world.host(init_mode=InitMode.PER_INSTANCE)
    preparing = _task(hosted.prepare())

    for _ in range(2):
        zygote = await world.made()
        zygote.be_ready("it took too long")
        await _until(lambda one=zygote: one.is_killed)  # type: ignore[misc]
        zygote.die()

    with pytest.raises(Unavailable, match="it took too long"):
        await preparing
    assert not hosted.is_live
    assert hosted.reason == "per-instance init was asked for"


async def test_a_zygote_has_the_network_that_its_tenant_was_granted(
    world: World,
) -> None:
    preparing = _task(world.host(network=Network.EGRESS).prepare())
    zygote = await world.made()
    zygote.be_ready()
    await preparing

    assert zygote.recipe.network == "egress"
    assert zygote.recipe.allow == ("10.0.0.0/8",)


async def test_a_zygote_has_its_function_s_layers(world: World) -> None:
    code = things.revision(sha256="bb").code
    layers = (LayerUse(arn="arn", code=code),)
    preparing = _task(world.host(layers=layers).prepare())
    zygote = await world.made()
    zygote.be_ready()
    await preparing

    assert zygote.recipe.opt == hashlib.sha256(b"bb").hexdigest()


async def test_nothing_starts_with_a_network_that_was_taken_back(world: World) -> None:
    with pytest.raises(PermissionDenied):
        await world.host(network=Network.HOST).prepare()

    assert world.node.zygotes == 0


# Which zygote is forked, and which is not any more.


async def test_a_late_init_replaces_the_zygote_it_was_forked_from(world: World) -> None:
    hosted, first = await world.live("resize")
    forked = await hosted.fork(lambda: None)
    assert forked is not None
    hosted.note_late_init(forked[1])
    _, second = await world.live("resize")

    # Another instance of the first, later still.
    hosted.note_late_init(forked[1])

    assert first.is_leaving
    assert not second.is_leaving
    assert hosted.is_live
    assert world.node.zygotes == 2
    assert world.node.instances == 1


async def test_an_import_of_the_instances_own_replaces_nothing(world: World) -> None:
    hosted = world.host(init_mode=InitMode.PER_INSTANCE)
    preparing = _task(hosted.prepare())
    (await world.made()).be_ready()
    await preparing
    forked = await hosted.fork(lambda: None)
    assert forked is not None

    hosted.note_late_init(forked[1])

    assert hosted.is_live


async def test_a_zygote_that_leaves_is_retired_with_the_others(world: World) -> None:
    hosted, first = await world.live("resize")
    forked = await hosted.fork(lambda: None)
    assert forked is not None
    hosted.note_late_init(forked[1])
    _, second = await world.live("resize")

    world.node.retire("rev-of-resize")

    assert first.is_killed
    assert second.is_killed
    assert not hosted.is_live
    assert await hosted.fork(lambda: None) is None


async def test_retiring_ends_a_start_in_flight(world: World) -> None:
    hosted = world.host()
    preparing = _task(hosted.prepare())
    zygote = await world.made()

    world.node.retire("rev-of-resize")

    with pytest.raises(Unavailable, match="changed or deleted"):
        await preparing
    assert zygote.is_killed
    with pytest.raises(Unavailable, match="changed or deleted"):
        await hosted.prepare()


async def test_retiring_ends_a_start_that_has_no_zygote_yet(world: World) -> None:
    world.may_unpack.clear()
    preparing = _task(world.host().prepare())
    await asyncio.sleep(0)

    world.node.retire("rev-of-resize")

    with pytest.raises(Unavailable, match="changed or deleted"):
        await preparing


async def test_a_caller_that_gives_up_does_not_end_the_start_for_others(
    world: World,
) -> None:
    hosted = world.host()
    impatient, patient = _task(hosted.prepare()), _task(hosted.prepare())
    zygote = await world.made()

    impatient.cancel()
    await asyncio.wait([impatient])
    zygote.be_ready()

    assert await patient == ""


# How many there are at once.


async def test_a_new_version_takes_the_place_of_the_least_recently_used(
    world: World,
) -> None:
    first, _ = await world.live("first")
    second, stalest = await world.live("second")
    await first.fork(lambda: None)

    preparing = _task(world.host("third").prepare())
    await _until(lambda: not second.is_live)

    assert stalest.is_killed
    assert first.is_live
    preparing.cancel()


async def test_a_place_is_free_when_its_zygote_is_dead_and_not_before(
    world: World,
) -> None:
    _, stalest = await world.live("first")
    await world.live("second")
    preparing = _task(world.host("third").prepare())
    await _until(lambda: stalest.is_killed)
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

    preparing = _task(first.prepare())
    await _until(lambda: stalest.is_killed)
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

    preparing = _task(world.host("third").prepare())
    await _until(lambda: not first.is_live)

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

    preparing = _task(world.host("new", "globex").prepare())
    await _until(lambda: stalest.is_killed)

    assert not first.is_live
    assert all(hosted.is_live for hosted in (stale, other, second))
    preparing.cancel()


async def test_what_is_kept_makes_no_room(world: World) -> None:
    kept, _ = await world.live("kept", "initech")
    other, _ = await world.live("other", "globex")
    await world.live("more", "globex")
    await world.live("last", "initech")
    world.node.keep("initech", "rev-of-kept", is_kept=True)

    preparing = _task(world.host("new", "hooli").prepare())
    await _until(lambda: not other.is_live)
    preparing.cancel()

    assert kept.is_live


async def test_what_is_kept_no_more_makes_room_again(world: World) -> None:
    kept, zygote = await world.live("kept")
    await world.live("other")
    world.node.keep("1", "rev-of-kept", is_kept=True)
    world.node.keep("1", "rev-of-kept", is_kept=False)

    preparing = _task(world.host("new").prepare())
    await _until(lambda: zygote.is_killed)

    assert not kept.is_live
    preparing.cancel()


async def test_a_tenant_cannot_keep_all_of_its_places(world: World) -> None:
    await world.live("kept")
    _, zygote = await world.live("one too many")
    for name in ("kept", "one too many"):
        world.node.keep("1", f"rev-of-{name}", is_kept=True)

    preparing = _task(world.host("new").prepare())
    await _until(lambda: zygote.is_killed)

    preparing.cancel()


async def test_places_of_a_tenant_that_is_gone_are_forgotten(world: World) -> None:
    for number in range(4):
        _, zygote = await world.live(f"number {number}", f"tenant {number}")
        zygote.die()

    assert not world.node._held  # noqa: SLF001 - nobody else tells


async def test_what_takes_long_to_start_is_spared_for_longer(world: World) -> None:
    slow, _ = await world.live("slow")
    quick, quick_zygote = await world.live("quick")
    slow.start_s, quick.start_s = 10.0, 0.1
    slow.last_used -= 50
    quick.last_used -= 5

    preparing = _task(world.host("third").prepare())
    await _until(lambda: quick_zygote.is_killed)

    assert slow.is_live
    preparing.cancel()


async def test_what_is_not_expected_soon_makes_room_first(world: World) -> None:
    regular, zygote = await world.live("regular")
    other, _ = await world.live("other")
    other.last_used -= 1_000
    world.node.note_away(frozenset([regular.revision.id]))

    world.node.shed(0.5)

    assert zygote.is_killed
    assert other.is_live


async def test_where_memory_is_short_what_has_no_instances_rests(world: World) -> None:
    first, zygote = await world.live("first")
    second, other = await world.live("second")
    await second.fork(lambda: None)

    world.node.shed(100.0)

    assert zygote.is_killed
    assert not first.is_live
    assert not other.is_killed
    assert second.is_live


async def test_a_python_with_extensions_is_a_program(world: World) -> None:
    world.has_extensions = True
    hosted = world.host()
    preparing = _task(hosted.prepare())
    zygote = await world.made()
    assert (zygote.imports, zygote.recipe.as_program) == (False, True)
    zygote.be_ready()

    assert "extensions" in await preparing


async def test_a_python_with_a_wrapper_script_is_a_program(world: World) -> None:
    hosted = world.host(environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"})
    preparing = _task(hosted.prepare())
    zygote = await world.made()
    assert (zygote.imports, zygote.recipe.as_program) == (False, True)
    zygote.be_ready()

    assert "wrapper" in await preparing


# SnapStart: the import is what a version is made of.


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
    preparing = _task(_snapshot(world, timeout_s=timeout_s).prepare())

    zygote = await world.made()
    zygote.be_ready()

    assert await preparing == ""
    assert zygote.recipe.import_s == import_s
    environment: Any = zygote.recipe.settings["environment"]
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"


async def test_what_may_not_be_cloned_has_no_snapshot_and_is_started_on_demand(
    world: World,
) -> None:
    preparing = _task(_snapshot(world).prepare())

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
    preparing = _task(_snapshot(world).prepare())

    (await world.made()).be_ready("the reason", obstacle)

    with pytest.raises(Refusal, match="the reason") as refused:
        await preparing
    assert refused.value.reason == code


async def test_a_snapshot_that_cannot_be_taken_again_is_tried_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = _snapshot(world, prepared=True)
    preparing = _task(hosted.prepare())
    (await world.made()).be_ready("the reason", Obstacle.FAILED)
    with pytest.raises(Refusal) as refused:
        await preparing

    with pytest.raises(Refusal) as at_once:
        await hosted.prepare()

    assert refused.value.reason == "SnapStartRegenerationFailureException"
    assert at_once.value is refused.value
    assert world.zygotes.made.empty()
    monkeypatch.setattr(snapshots, "AGAIN_S", 0.0)
    preparing = _task(hosted.prepare())
    (await world.made()).be_ready()
    assert await preparing == ""


# The engine's end.


async def test_extensions_are_told_that_the_engine_ends(world: World) -> None:
    with_one, first = await world.live("resize")
    without, second = await world.live("parse")
    for hosted in (with_one, without):
        assert await hosted.fork(lambda: None) is not None
    told, plain = first.instances[0], second.instances[0]
    told.has_farewell = True

    ending = _task(world.node.say_farewell())
    await _until(lambda: told.is_stopped)

    assert not ending.done()
    told.on_death(told)
    await ending
    assert not plain.is_stopped, "nobody in there wants to know"


async def test_the_engines_end_waits_for_extensions_only_so_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "FAREWELL_S", 0.0)
    hosted, zygote = await world.live("resize")
    assert await hosted.fork(lambda: None) is not None
    zygote.instances[0].has_farewell = True

    await world.node.say_farewell()

    assert zygote.instances[0].last_words == ()
