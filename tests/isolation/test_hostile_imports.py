"""Hostile imports: whatever they do to their zygote, it is their own. Either the
function still answers, or its zygote is found unfit, or its jail is gone."""

import asyncio

import pytest

from sandlot_sandbox.errors import SandboxError, ZygoteLost
from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import Either, attacked, patience_for, told
from tests.isolation.machine import WAIT_S, Guest, Sandbox, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

READY, UNSAFE, LOST = "ready", "unsafe", "lost"
ANY = Either(READY, UNSAFE, LOST)
"""Its own function is all that it can harm; what becomes of that is its own affair."""

IMPORTS = {
    "fork_a_child": UNSAFE,
    "fork_a_daemon": UNSAFE,
    "go_on_in_the_child": LOST,
    "both_go_on": Either(UNSAFE, LOST),
    "start_a_thread": UNSAFE,
    "start_a_thread_without_python": UNSAFE,
    "exit_politely": UNSAFE,
    "exit_at_once": LOST,
    "kill_itself": LOST,
    "crash": LOST,
    "take_all_memory": Either(UNSAFE, LOST),
    "recurse": UNSAFE,
    "claim_to_be_ready": Either(READY, LOST),
    "claim_ends_of_others": Either(READY, LOST),
    "write_noise_to_the_channel": Either(READY, LOST),
    "fill_the_channel": Either(UNSAFE, LOST),
    "close_the_channel": LOST,
    "read_the_channel": UNSAFE,
    "print_without_end": READY,
    "replace_modules": ANY,
    "patch_the_runtime": ANY,
    "patch_what_enters_the_cell": ANY,
    "fake_system_calls_by_a_filter": READY,
    "use_the_zygotes_capabilities": READY,
    "enter_the_wardens_namespaces": READY,
    "register_exit_functions": READY,
    "register_fork_hooks": READY,
    "hang_before_forks": READY,
    "answer_in_the_fork_hook": ANY,
    "die_in_the_fork_hook": ANY,
    "catch_every_signal": ANY,
    "block_every_signal": ANY,
    "lower_every_limit": ANY,
    "close_every_descriptor": LOST,
    "leave_a_trace_function": ANY,
    "collect_everything": ANY,
    "set_a_wakeup_descriptor": ANY,
    "forge_log_lines": READY,
}

HONEST = ("print_without_end", "register_fork_hooks", "use_the_zygotes_capabilities")
"""Those after which the function has to work."""

INSTANCES = {
    "fork_a_child": "nothing",
    "fork_a_daemon": "nothing",
    "go_on_in_the_child": Either(
        Ended.EXITED, Ended.SIGNALED, Ended.VIOLATION, "nothing"
    ),
    "start_a_thread": "nothing",
    "loop_for_ever": Ended.TIMED_OUT,
    "sleep_for_ever": Ended.TIMED_OUT,
    "exit_politely": Ended.EXITED,
    "exit_at_once": Ended.EXITED,
    "kill_itself": Ended.SIGNALED,
    "crash": Ended.SIGNALED,
    "recurse": (Ended.INIT_FAILED, "RecursionError"),
    "write_noise_to_the_channel": Either(Ended.VIOLATION, Ended.TOO_LARGE),
    "close_the_channel": Either(Ended.EXITED, Ended.SIGNALED),
    "close_every_descriptor": Either(Ended.EXITED, Ended.SIGNALED),
    "register_exit_functions": "nothing",
}
"""The same where every instance imports for itself."""


@pytest.mark.parametrize(("program", "expected"), IMPORTS.items())
async def test_an_import_harms_its_own_function_alone(
    sandbox: Sandbox, curious: Guest, program: str, expected: object
) -> None:
    settings = {"environment": {"DO": program}}
    async with attacked(sandbox, curious, "hostile/imports", **settings) as guest:
        became = await _became(guest)
        answer = "nothing" if program in HONEST else Ended.TIMED_OUT
        got = await _asked(guest, answer) if became == READY else None

    assert became == expected
    if program in HONEST:
        assert got == "nothing"


@pytest.mark.parametrize(("program", "expected"), INSTANCES.items())
async def test_an_import_in_an_instance_ends_with_it(
    sandbox: Sandbox, curious: Guest, program: str, expected: object
) -> None:
    settings = {"environment": {"DO": program}, "import_in_zygote": False}
    async with attacked(sandbox, curious, "hostile/imports", **settings) as guest:
        assert await _became(guest) == READY
        got = await _asked(guest, expected)
        assert not guest.zygote.is_lost

    assert got == expected


async def _became(guest: Guest) -> str:
    """What became of the zygote by its import."""
    async with asyncio.timeout(WAIT_S):
        try:
            return READY if await guest.zygote.wait_ready() else UNSAFE
        except ZygoteLost:
            return LOST


async def _asked(guest: Guest, expected: object) -> object:
    """What becomes of an invocation; None where no instance could be started."""
    timeout_s = patience_for(expected)
    try:
        instance = await guest.fork()
        ending = await send(instance, "nothing", timeout_s=timeout_s, init_counts=True)
    except SandboxError:
        return None
    return told(ending)
