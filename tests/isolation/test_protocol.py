"""A tenant that writes to its channel what the runtime would not ends its own
instance, and nothing else."""

import contextlib

import pytest

from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.outcome import Ended
from tests.isolation.machine import WAIT_S, Guest, Sandbox, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

SILENCE_S = 0.3


@pytest.mark.parametrize(
    ("lie", "ended"),
    [
        ("oversize", Ended.TOO_LARGE),
        ("huge", Ended.TOO_LARGE),
        ("long_type", Ended.VIOLATION),
        ("unknown_kind", Ended.VIOLATION),
        ("ready_again", Ended.VIOLATION),
        ("init_error", Ended.VIOLATION),
        ("two_answers", Ended.VIOLATION),
        ("extra_bytes", Ended.VIOLATION),
        ("part", Ended.TIMED_OUT),
        ("part_of_a_header", Ended.TIMED_OUT),
        ("nothing", Ended.TIMED_OUT),
    ],
)
async def test_a_lie_ends_the_instance_and_no_other(
    sandbox: Sandbox, curious: Guest, lie: str, ended: Ended
) -> None:
    async with sandbox.running("liar") as guest:
        instance, sibling = await guest.fork(), await guest.fork()

        timeout_s = SILENCE_S if ended is Ended.TIMED_OUT else WAIT_S
        ending = await send(instance, lie, timeout_s=timeout_s)

        assert ending.ended is ended
        await guest.wait_death(instance)
        honest = await send(sibling, "nothing", timeout_s=SILENCE_S)
        assert honest.ended is Ended.TIMED_OUT, "its sibling was still there"
        assert not guest.zygote.is_lost
    assert await curious.ask("tmp") == []


async def test_noise_ends_the_instance(sandbox: Sandbox) -> None:
    async with sandbox.running("liar") as guest:
        instance = await guest.fork()

        ending = await send(instance, "noise", timeout_s=SILENCE_S)

        assert not ending.is_reusable
        await guest.wait_death(instance)


async def test_a_closed_channel_ends_the_instance(sandbox: Sandbox) -> None:
    async with sandbox.running("liar") as guest:
        instance = await guest.fork()

        ending = await send(instance, "closed")

        assert ending.ended in (Ended.EXITED, Ended.SIGNALED)
        await guest.wait_death(instance)


@pytest.mark.parametrize("lie", ["part", "part_of_a_header", "two_answers", "noise"])
async def test_what_nobody_asked_for_ends_an_idle_instance(
    sandbox: Sandbox, lie: str
) -> None:
    async with sandbox.running("liar") as guest:
        instance = await guest.fork()
        ending = await send(instance, lie, later=True)

        # It may have been quicker than its answer; or frozen before it could say
        # anything, and then it says it now.
        if ending.is_reusable:
            assert ending.payload == b'"wait for it"'
            with contextlib.suppress(StartFailed):
                ending = await send(instance, "nothing", timeout_s=SILENCE_S)
                assert not ending.is_reusable

        await guest.wait_death(instance)
        assert not instance.is_usable
