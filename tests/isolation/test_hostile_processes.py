"""Hostile programs on processes: whom they hit, how they end, what they leave."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import Arena, Either, arena, attacked, instance_of, told
from tests.isolation.machine import Guest, Sandbox, ask, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

HANGS_S = 0.3
"""The timeout of programs that never answer."""

GONE = Either(Ended.SIGNALED, Ended.EXITED)

SIGNALS = {
    "kill_process_1": "still here",
    "kill_everybody": True,
    "signal_its_parent": [0, []],
    "signal_by_lies": "EPERM",
    "change_the_limits_of_process_1": ["ENOSYS"] * 4,
    "make_others_nicer": ["ENOSYS"] * 3,
    "make_itself_nicer": ["ok"] * 3,
    "ask_for_cores": ["ENOSYS", ["1", "1"]],
    "abort_process_1_by_a_fault": Ended.SIGNALED,
}

STAYING = {
    "leave_a_child": "left",
    "leave_a_daemon": "left",
    "leave_a_stopped_child": "left",
    "leave_a_child_of_the_zygote": "left",
    "leave_zombies": "left",
    "leave_orphans": "left",
    "leave_a_thread": "left",
    "leave_a_subreaper": "left",
    "leave_a_renamed_process": "left",
    "end_while_a_child_holds_the_channel": Ended.EXITED,
    "answer_from_a_child": Either(Ended.EXITED, Ended.VIOLATION, "from the child"),
    "both_answer": Either(Ended.VIOLATION, "which of the two?"),
}

HANGING = (
    "stop_itself",
    "ignore_every_signal",
    "end_the_first_thread",
    "race_the_killer",
)

OWN_GROUP = ("kill_its_own_group", "stop_its_own_group")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/processes") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), SIGNALS.items())
async def test_a_signal_reaches_nobody_else(
    jail: Arena, program: str, expected: object
) -> None:
    assert await jail.play(program) == expected


@pytest.mark.parametrize(("program", "expected"), STAYING.items())
async def test_what_wants_to_stay_goes_with_its_instance(
    jail: Arena, program: str, expected: object
) -> None:
    assert await jail.play(program) == expected


@pytest.mark.parametrize("program", HANGING)
async def test_what_cannot_be_asked_to_end_is_ended(jail: Arena, program: str) -> None:
    got = await jail.play(program, timeout_s=HANGS_S)

    assert got is Ended.TIMED_OUT


async def test_a_chain_of_forks_is_ended(jail: Arena) -> None:
    got = await jail.play("vanish_in_a_fork_chain")

    assert got == GONE


@pytest.mark.parametrize("program", OWN_GROUP)
async def test_a_signal_to_its_group_is_to_nobody_but_the_instance(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    async with attacked(sandbox, curious, "hostile/processes") as guest:
        sibling = await instance_of(guest)
        assert await ask(sibling, "nothing") == "nothing"
        instance = await guest.fork()

        ending = await send(instance, program, timeout_s=HANGS_S)

        assert told(ending) in (Ended.SIGNALED, Ended.TIMED_OUT)
        assert await ask(sibling, "nothing") == "nothing"
        assert not guest.zygote.is_lost
