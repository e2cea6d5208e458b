"""What ended at work is reset as on AWS Lambda: /tmp is kept, all else is gone."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from sandlot_sandbox.host.heirs import MAX_HEIRS
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.outcome import Ended
from tests.descriptors import open_files
from tests.isolation.machine import (
    WAIT_S,
    Guest,
    Sandbox,
    ask,
    send,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _end(guest: Guest, how: str, *, do: str = "note", **more: Any) -> Ended:
    """Have an instance write to its /tmp and end; how it did."""
    instance = await guest.fork()
    sent = asyncio.create_task(send(instance, do, end=how, **more))
    if how == "hang":
        # Its time is over when it has done what it does, and says so. That may be here
        # before it is known to be ready, from when on its time counts anew.
        async with asyncio.timeout(WAIT_S):
            while not (instance.state is State.BUSY and _has_printed(instance)):  # noqa: ASYNC110
                await asyncio.sleep(0)
        instance._deadline.set(0.0)  # noqa: SLF001
    ending = await sent
    await guest.wait_death(instance)
    return ending.ended


def _has_printed(instance: Instance) -> bool:
    return instance._account.log.has_something  # noqa: SLF001 - nobody else tells


@pytest.mark.parametrize(
    ("how", "ended"),
    [
        ("hang", Ended.TIMED_OUT),
        ("exit", Ended.EXITED),
        ("signal", Ended.SIGNALED),
    ],
)
async def test_the_next_instance_finds_the_files_and_no_globals(
    sandbox: Sandbox, how: str, ended: Ended
) -> None:
    async with sandbox.running("resets") as guest:
        assert await _end(guest, how) is ended
        assert await _end(guest, how) is ended

        found = await guest.ask("note")
        after = await guest.ask("note")

        assert (found["count"], found["lines"], found["files"]) == (1, 3, ["lines"])
        assert after["lines"] == 1, "what ended idle leaves nothing"


@pytest.mark.parametrize(
    ("imports", "is_kept", "inherits"),
    [(True, False, False), (True, True, True), (False, False, True)],
    ids=["a clone", "a provisioned clone", "what imports for itself"],
)
async def test_a_standby_of_clones_leaves_the_files_to_an_invocation(
    sandbox: Sandbox, imports: bool, is_kept: bool, inherits: bool
) -> None:
    async with sandbox.running("resets", import_in_zygote=imports) as guest:
        await _end(guest, "exit")

        ahead = await guest.fork(is_ahead=True, is_kept=is_kept)
        assert await ahead.wait_ready(WAIT_S)
        lines = [(await ask(ahead, "note"))["lines"]]
        lines.append((await guest.ask("note"))["lines"])
        await ahead.destroy()

        assert lines == ([2, 1] if inherits else [1, 2])


async def test_a_tmp_that_was_kept_is_mounted_as_a_new_one(sandbox: Sandbox) -> None:
    async with sandbox.running("resets", tmp_mb=16) as guest:
        new = await guest.ask("note")
        await _end(guest, "hang", do="fill", mb=6)

        instance = await guest.fork()
        kept = await ask(instance, "note")
        more = await ask(instance, "fill", name="more", mb=64)
        await instance.destroy()

        assert kept["files"] == ["filler", "lines"]
        assert kept["flags"] == new["flags"]
        assert {"nosuid", "nodev"} <= set(kept["flags"].split(","))
        assert 8 <= more <= 10, "its size is what it was, old files included"


@pytest.mark.parametrize("how", ["garbage", "memory"])
async def test_nothing_is_kept_of_what_broke_the_rules(
    sandbox: Sandbox, how: str
) -> None:
    async with sandbox.running("resets", memory_mb=128) as guest:
        ended = await _end(guest, how, mb=220)

        assert ended in (Ended.VIOLATION, Ended.SIGNALED)
        assert not guest.zygote.has_heirs
        assert (await guest.ask("note"))["lines"] == 1


async def test_what_was_kept_counts_as_files_and_not_as_memory(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running("resets", memory_mb=128, tmp_mb=256) as guest:
        await _end(guest, "hang", do="fill", mb=200)
        instance = await guest.fork()
        assert await ask(instance, "hold", mb=60) == 60 << 20
        await instance.destroy()

        await _end(guest, "hang", do="fill", mb=200)
        instance = await guest.fork()
        ending = await send(instance, "hold", mb=220, stays=True)
        await guest.wait_death(instance)

        assert ending.ended is Ended.SIGNALED, "no more than it has"


async def test_only_so_many_are_kept(sandbox: Sandbox) -> None:
    async with sandbox.running("resets") as guest:
        instances = [await guest.fork() for _ in range(MAX_HEIRS + 2)]
        async with asyncio.TaskGroup() as group:
            for instance in instances:
                group.create_task(send(instance, "note", end="exit"))
        for instance in instances:
            await guest.wait_death(instance)

        found = [await guest.ask("note") for _ in instances]

        assert sorted(each["lines"] for each in found) == [1, 1, *[2] * MAX_HEIRS]


async def test_what_is_kept_can_be_given_back(sandbox: Sandbox) -> None:
    async with sandbox.running("resets", tmp_mb=64) as guest:
        await _end(guest, "hang", do="fill", mb=48)
        async with asyncio.timeout(WAIT_S):
            while not guest.zygote._heirs._ready:  # noqa: ASYNC110, SLF001
                await asyncio.sleep(0.01)
        before = open_files()

        guest.zygote.drop_kept()

        assert not guest.zygote.has_heirs
        async with asyncio.timeout(WAIT_S):
            while open_files() >= before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await guest.ask("note"))["files"] == ["lines"]


async def test_one_zygotes_files_are_never_anothers(sandbox: Sandbox) -> None:
    async with sandbox.running("resets") as guest, sandbox.running("resets") as other:
        await _end(guest, "exit")

        assert (await other.ask("note"))["lines"] == 1
        assert (await guest.ask("note"))["lines"] == 2


@asynccontextmanager
async def _turns() -> AsyncIterator[list[float]]:
    """How long our thread ran in each turn of our loop meanwhile: what is freed, is
    freed by whom it makes wait, and whatever else the machine is at does not count."""
    took_s: list[float] = []

    async def look() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            took_s.append(time.thread_time() - began)

    looking = asyncio.create_task(look())
    try:
        yield took_s
    finally:
        await asyncio.sleep(0)  # the last turn counts
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def test_our_loop_does_not_stand_still_while_a_full_tmp_is_freed(
    sandbox: Sandbox,
) -> None:
    stood_still_s = []
    async with sandbox.running("resets", tmp_mb=1024) as guest:
        for _ in range(3):
            instance = await guest.fork()
            await send(instance, "fill", mb=900)
            async with _turns() as turns_s:
                await instance.destroy()
            stood_still_s.append(max(turns_s))

    assert min(stood_still_s) < 0.05, "which takes twice as long"
