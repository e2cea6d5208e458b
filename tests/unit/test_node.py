"""Versions on a machine: what is remembered of a start, and of its end."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from sandlot_engine.errors import PermissionDenied, Unavailable
from sandlot_engine.model.function import InitMode, LayerUse
from sandlot_engine.model.network import Network
from sandlot_engine.node import node as node_module
from sandlot_sandbox.errors import StartFailed, ZygoteLost
from tests.fakes import things
from tests.fakes.nodes import World, begun, until, world_of


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch)


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
    preparing = begun(hosted.prepare())

    for _ in range(2):
        (await world.made()).fail(ZygoteLost("no room for a jail", started=False))

    with pytest.raises(Unavailable, match="no room for a jail"):
        await preparing
    assert hosted.reason == ""
    assert world.node.zygotes == 0


async def test_an_interpreter_that_does_not_start_is_our_failure(world: World) -> None:
    hosted = world.host()
    preparing = begun(hosted.prepare())

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
    preparing = begun(hosted.prepare())

    (await world.made()).fail(ZygoteLost("exit status 3"))
    second = await world.made()
    second.be_ready()

    assert not second.imports
    assert await preparing == "the import ended the process: exit status 3"


async def test_an_import_that_was_killed_once_is_tried_again(world: World) -> None:
    hosted = world.host()
    preparing = begun(hosted.prepare())

    (await world.made()).fail(ZygoteLost("killed by signal 9", killed=True))
    second = await world.made()
    second.be_ready()

    assert second.imports
    assert await preparing == hosted.reason == ""


async def test_an_import_that_is_killed_again_is_left_to_the_instances(
    world: World,
) -> None:
    hosted = world.host()
    preparing = begun(hosted.prepare())

    for _ in range(2):
        (await world.made()).fail(ZygoteLost("killed by signal 9", killed=True))
    (await world.made()).be_ready()

    assert await preparing == "the import ended the process: killed by signal 9"


async def test_an_unsafe_import_is_left_to_the_instances(world: World) -> None:
    hosted = world.host()
    preparing = begun(hosted.prepare())

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
    preparing = begun(hosted.prepare())

    for _ in range(2):
        zygote = await world.made()
        zygote.be_ready("it took too long")
        await until(lambda one=zygote: one.is_killed)  # type: ignore[misc]
        zygote.die()

    with pytest.raises(Unavailable, match="it took too long"):
        await preparing
    assert not hosted.is_live
    assert hosted.reason == "per-instance init was asked for"


async def test_a_zygote_has_the_network_that_its_tenant_was_granted(
    world: World,
) -> None:
    preparing = begun(world.host(network=Network.EGRESS).prepare())
    zygote = await world.made()
    zygote.be_ready()
    await preparing

    assert zygote.recipe.network == "egress"
    assert zygote.recipe.allow == ("10.0.0.0/8",)


async def test_a_zygote_has_its_function_s_layers(world: World) -> None:
    code = things.revision(sha256="bb").code
    layers = (LayerUse(arn="arn", code=code),)
    preparing = begun(world.host(layers=layers).prepare())
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
    preparing = begun(hosted.prepare())
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
    preparing = begun(hosted.prepare())
    zygote = await world.made()

    world.node.retire("rev-of-resize")

    with pytest.raises(Unavailable, match="changed or deleted"):
        await preparing
    assert zygote.is_killed
    with pytest.raises(Unavailable, match="changed or deleted"):
        await hosted.prepare()


async def test_retiring_ends_a_start_that_has_no_zygote_yet(world: World) -> None:
    world.may_unpack.clear()
    preparing = begun(world.host().prepare())
    await asyncio.sleep(0)

    world.node.retire("rev-of-resize")

    with pytest.raises(Unavailable, match="changed or deleted"):
        await preparing


async def test_a_caller_that_gives_up_does_not_end_the_start_for_others(
    world: World,
) -> None:
    hosted = world.host()
    impatient, patient = begun(hosted.prepare()), begun(hosted.prepare())
    zygote = await world.made()

    impatient.cancel()
    await asyncio.wait([impatient])
    zygote.be_ready()

    assert await patient == ""


# How many there are at once.


async def test_a_python_with_extensions_is_a_program(world: World) -> None:
    world.has_extensions = True
    hosted = world.host()
    preparing = begun(hosted.prepare())
    zygote = await world.made()
    assert (zygote.imports, zygote.recipe.as_program) == (False, True)
    zygote.be_ready()

    assert "extensions" in await preparing


async def test_a_python_with_a_wrapper_script_is_a_program(world: World) -> None:
    hosted = world.host(environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"})
    preparing = begun(hosted.prepare())
    zygote = await world.made()
    assert (zygote.imports, zygote.recipe.as_program) == (False, True)
    zygote.be_ready()

    assert "wrapper" in await preparing


# SnapStart: the import is what a version is made of.


async def test_extensions_are_told_that_the_engine_ends(world: World) -> None:
    with_one, first = await world.live("resize")
    without, second = await world.live("parse")
    for hosted in (with_one, without):
        assert await hosted.fork(lambda: None) is not None
    told, plain = first.instances[0], second.instances[0]
    told.has_farewell = True

    ending = begun(world.node.say_farewell())
    await until(lambda: told.is_stopped)

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


# What comes in crowds.


async def test_new_code_is_ready_for_the_crowd_of_the_old_and_nobody_elses(
    world: World,
) -> None:
    old, zygote = await world.live("resize")

    new = world.node.host(old.function, replace(old.revision, id="another"))
    not_theirs = replace(old.function, tenant_id="somebody-else")
    others = [
        world.host("other"),
        world.node.host(not_theirs, replace(old.revision, id="theirs")),
    ]

    assert zygote.crowd is old.crowd is new.crowd
    assert len({id(each.crowd) for each in (old, *others)}) == 3


async def test_where_memory_is_short_fewer_are_expected_and_cells_go(
    world: World,
) -> None:
    hosted, zygote = await world.live("resize")
    now = asyncio.get_running_loop().time()
    for _ in range(100):
        hosted.crowd.come(zygote, now)
    zygote.cells = 5

    assert world.node.drop_kept()
    assert not world.node.drop_kept()

    assert hosted.crowd.expected(now) == 50
