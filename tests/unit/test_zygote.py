"""The engine's hold on a zygote, against a launcher and a zygote that say what a test
likes."""

import errno
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox import frames, spec
from sandlot_sandbox.errors import StartFailed, ZygoteLost
from sandlot_sandbox.host import zygote as module
from sandlot_sandbox.host.zygote import Zygote
from tests.descriptors import open_files
from tests.fakes.jail import RECIPE, Jail


@pytest_asyncio.fixture
async def jail() -> AsyncIterator[Jail]:
    made = Jail()
    yield made
    made.close()


async def test_a_zygote_is_killed_whose_brake_did_not_arrive(jail: Jail) -> None:
    jail.make_zygote()

    jail.report(spec.ZygoteMade(jail.number, ["freeze"]))

    assert await jail.next_order() == spec.KillZygote(jail.number)


async def test_a_zygote_that_cannot_be_frozen_is_killed(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FREEZE_AFTER_S", 0.0)
    zygote = jail.make_zygote()
    unreadable = os.open("/dev/null", os.O_RDONLY)
    jail.report(spec.ZygoteMade(jail.number, ["freeze"]), unreadable)
    os.close(unreadable)
    jail.say(frames.ZYGOTE_STARTED)
    jail.say(frames.ZYGOTE_READY)
    assert await zygote.wait_ready()

    assert await jail.next_order() == spec.KillZygote(jail.number)


async def test_a_jail_that_dies_before_its_interpreter_began_is_our_failure(
    jail: Jail,
) -> None:
    zygote = jail.make_zygote()

    jail.report(spec.ZygoteMade(jail.number, []))
    jail.report(spec.ZygoteDied(jail.number, "it was killed", started=True))

    with pytest.raises(ZygoteLost, match="it was killed") as lost:
        await zygote.wait_ready()
    assert not lost.value.started


async def test_an_interpreter_that_had_begun_when_it_died_is_the_imports_doing(
    jail: Jail,
) -> None:
    zygote = jail.make_zygote()

    # In this order, so that its word is read after the news of its death.
    died = spec.ZygoteDied(jail.number, "status 3", started=True, killed=True)
    jail.report(died)
    jail.say(frames.ZYGOTE_STARTED)

    with pytest.raises(ZygoteLost, match="status 3") as lost:
        await zygote.wait_ready()
    assert (lost.value.started, lost.value.killed) == (True, True)


@pytest.mark.parametrize("call", ["socket.socketpair", "os.pipe2"])
async def test_without_room_for_its_channels_it_is_not_started_and_leaves_nothing(
    jail: Jail, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(call, refuse)
    before = open_files()

    with pytest.raises(StartFailed, match="too many open files"):
        Zygote(jail.launcher, RECIPE, on_lost=lambda _: None)

    assert open_files() == before
