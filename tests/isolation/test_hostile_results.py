"""Hostile answers, failures and ends: each is told for what it is, in bounds."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import Arena, Either, arena, patience_for
from tests.isolation.machine import Guest, Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNMARSHALABLE = (Ended.FAILED, "Runtime.MarshalError")
TOO_LARGE = (Ended.FAILED, "Function.ResponseSizeTooLarge")

ANSWERS = {
    "answer_one_byte_too_much": TOO_LARGE,
    "answer_fifty_megabytes": Either(TOO_LARGE, Ended.SIGNALED),
    "answer_in_itself": UNMARSHALABLE,
    "answer_too_deep": UNMARSHALABLE,
    "answer_half_characters": "\ud800 half",
    "answer_with_evil_keys": Either({"a": 1}, UNMARSHALABLE, Ended.EXITED),
    "answer_with_an_evil_dict": Either({"a": 1}, UNMARSHALABLE),
    "answer_a_namedtuple_that_lies": UNMARSHALABLE,
    "raise_a_gigantic_message": (Ended.FAILED, "ValueError"),
    "raise_with_an_evil_str": Ended.EXITED,
    "raise_with_a_str_that_is_none": (Ended.FAILED, "Evil"),
    "raise_with_an_endless_str": (Ended.FAILED, "Evil"),
    "raise_with_a_long_name": (Ended.FAILED, "N" * 256),
    "raise_with_a_metaclass": Either((Ended.FAILED, "Evil"), Ended.EXITED),
    "raise_in_a_circle": (Ended.FAILED, "ValueError"),
    "raise_from_ten_thousand_frames": (Ended.FAILED, "ValueError"),
    "recurse_until_the_stack_ends": Ended.SIGNALED,
    "raise_what_is_no_exception": Ended.EXITED,
    "raise_keyboard_interrupt": Ended.EXITED,
    "raise_generator_exit": Ended.EXITED,
    "raise_with_evil_source": Either((Ended.FAILED, "ValueError"), Ended.EXITED),
    "raise_when_it_is_deleted": Either((Ended.FAILED, "ValueError"), Ended.EXITED),
    "exit_politely": Ended.EXITED,
    "exit_with_a_huge_status": Ended.EXITED,
    "exit_at_once": Ended.EXITED,
    "abort": Ended.SIGNALED,
    "become_another_program": Ended.EXITED,
    "close_the_channel": Either(Ended.EXITED, Ended.SIGNALED),
    "close_every_descriptor": Either(Ended.EXITED, Ended.SIGNALED),
    "exit_in_the_flush": Ended.EXITED,
    "answer_and_answer_again": Either(Ended.VIOLATION, "first"),
    "read_the_channel": "nothing to read",
    "claim_much_memory": "much",
    "crash_in_native_code": Ended.SIGNALED,
}
"""`answer_and_answer_again`: what it wins is its own answer, if it is fast."""

STALLING = {
    "answer_for_ever": Either(Ended.TIMED_OUT, [1], UNMARSHALABLE),
    "become_another_program_that_answers": "from sh",
    "become_a_program_that_ignores_us": Either(Ended.TIMED_OUT, Ended.SIGNALED),
    "replace_the_channel": Either(Ended.TIMED_OUT, Ended.EXITED, Ended.SIGNALED),
    "shut_the_channel_down": Either(Ended.EXITED, Ended.SIGNALED),
    "write_noise": Either(Ended.VIOLATION, Ended.TOO_LARGE, Ended.TIMED_OUT),
    "announce_too_much": Ended.TOO_LARGE,
    "announce_a_long_type": Ended.VIOLATION,
    "announce_and_stall": Ended.TIMED_OUT,
    "be_ready_again": Ended.VIOLATION,
    # Unless all of it fits: then that is its answer.
    "make_the_channel_non_blocking": Either(
        Ended.EXITED, Ended.TIMED_OUT, "x" * 5_000_000
    ),
    "send_urgent_data_and_descriptors": Either(Ended.VIOLATION, Ended.TIMED_OUT),
    "block_the_flush": Ended.TIMED_OUT,
    "answer_while_another_thread_writes": Ended.VIOLATION,
}

RAW = {
    "answer_what_is_no_number": (Ended.ANSWERED, b"[NaN, Infinity]"),
    "answer_evil_bytes": (Ended.ANSWERED, b"\xff\x00 not json"),
    "answer_many_keys": (Ended.ANSWERED, None),
    "answer_a_decimal_that_lies": (Ended.ANSWERED, None),
    "fail_without_json": (Ended.FAILED, b"[[[["),
    "fail_with_deep_json": (Ended.FAILED, None),
    "raise_with_a_forged_name": (Ended.FAILED, None),
}
"""What a tenant sends is its own; it is passed on and never looked into."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/results") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), ANSWERS.items())
async def test_a_result_is_told_for_what_it_is(
    jail: Arena, program: str, expected: object
) -> None:
    assert await jail.play(program) == expected


@pytest.mark.parametrize(("program", "expected"), STALLING.items())
async def test_what_never_answers_properly_is_ended(
    jail: Arena, program: str, expected: object
) -> None:
    got = await jail.play(program, timeout_s=patience_for(expected))

    assert got == expected


@pytest.mark.parametrize(
    ("program", "ended", "payload"),
    [(program, *expected) for program, expected in RAW.items()],
    ids=RAW,
)
async def test_bytes_of_a_tenant_are_passed_on_as_they_are(
    jail: Arena, program: str, ended: Ended, payload: bytes | None
) -> None:
    ending = await jail.ending_of(program)

    assert ending.ended is ended
    assert payload in (None, ending.payload)
