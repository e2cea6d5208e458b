"""Hostile programs that change the runtime under its feet: they change their own
answer, or end their own instance."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import Arena, Either, arena, patience_for
from tests.isolation.machine import Guest, Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = "still here"
BROKEN = Either(
    Ended.EXITED, Ended.SIGNALED, Ended.TIMED_OUT, Ended.VIOLATION, Ended.TOO_LARGE
)
"""It cannot answer any more, and that is noticed."""

LOOKED_UP = (Ended.FAILED, "LookupError")

TAMPERING = {
    "empty_sys_modules": Either(HERE, *BROKEN),
    "empty_the_builtins": Either(HERE, *BROKEN),
    "replace_os_write": HERE,
    "replace_the_socket_class": Either(HERE, *BROKEN),
    "replace_json": Either(HERE, "forged", *BROKEN),
    "replace_the_clock": HERE,
    "replace_frames": BROKEN,
    "change_the_limits_of_the_runtime": BROKEN,
    "fail_with_a_longer_type": BROKEN,
    "send_by_the_runtime_s_socket": Either("by gc!", "not found"),
    "change_the_frames_above": Either(HERE, *BROKEN),
    "trace_the_runtime": Either("traced", *BROKEN),
    "profile_the_runtime": HERE,
    "audit_the_runtime": Either(HERE, *BROKEN),
    "change_small_numbers": Either("is two still two?", (Ended.FAILED, ""), *BROKEN),
    "change_the_code_of_the_runtime": Either(HERE, *BROKEN),
    "replace_the_streams": Either(HERE, *BROKEN),
    "replace_the_streams_by_liars": Either(LOOKED_UP, *BROKEN),
    "break_the_logging": HERE,
    "hook_every_exit": Either(Ended.EXITED, Ended.TIMED_OUT),
    "change_its_context": LOOKED_UP,
    "disable_the_collector": HERE,
    "grow_the_interned": HERE,
    "change_the_search_path": Either(LOOKED_UP, *BROKEN),
    "free_the_event": Either(None, *BROKEN),
    "write_over_the_stack": Either(True, *BROKEN),
    "unmap_the_runtime": BROKEN,
    "seed_everybody": "seeded",
    "lower_its_recursion_limit": Either(
        HERE, (Ended.FAILED, "RecursionError"), *BROKEN
    ),
    "lower_its_limits": Either(HERE, *BROKEN),
    "switch_threads": Either("starved", *BROKEN),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/tampering") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), TAMPERING.items())
async def test_who_changes_the_runtime_changes_its_own_answer(
    jail: Arena, program: str, expected: object
) -> None:
    got = await jail.play(program, timeout_s=patience_for(expected))

    assert got == expected
