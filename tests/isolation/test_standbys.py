"""Instances that nobody waits for: what they have done before their first event."""

import asyncio
from pathlib import Path

import pytest

from tests.isolation.machine import WAIT_S, Guest, Sandbox, ask, descendants

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLONE = "2"
"""What every instance is called in its cell."""

MOST = 100
"""Pages that the first event of a standby may be the first to write to: of those of the
runtime a dozen, and of the handler and what it calls as many as it likes."""


async def test_a_standby_has_written_to_its_pages_before_its_first_event(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running("spinning") as guest:
        waited_for = await _faults_of_the_first_event(sandbox, guest, is_ahead=False)
        ahead = await _faults_of_the_first_event(sandbox, guest, is_ahead=True)

    assert ahead < MOST
    assert ahead < waited_for / 2


async def test_what_stands_by_is_like_any_other_instance(sandbox: Sandbox) -> None:
    async with sandbox.running("spinning") as guest:
        instance = await guest.fork(is_ahead=True)
        assert await instance.wait_ready(WAIT_S)

        assert await ask(instance, "count") == "+"
        await instance.destroy()


async def test_a_handler_that_was_called_before_the_snapshot_writes_to_less(
    sandbox: Sandbox,
) -> None:
    faults = []
    for environment in ({}, {"PRIMED": "yes"}):
        async with sandbox.running("primed", environment=environment) as guest:
            faults.append(
                await _faults_of_the_first_event(sandbox, guest, is_ahead=True)
            )

    plain, primed = faults
    assert primed < 0.8 * plain


async def test_it_has_the_pages_that_another_came_to_by_its_first_event(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running("primed") as guest:
        alone = await _faults_of_the_first_event(sandbox, guest, is_ahead=True)
        other = await guest.fork()
        await ask(other, "work")
        async with asyncio.timeout(WAIT_S):
            while not other.is_frozen:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        behind = await _faults_of_the_first_event(sandbox, guest, is_ahead=True)

    assert behind < MOST
    assert behind < alone / 4


async def test_what_stood_by_before_has_them_too(sandbox: Sandbox) -> None:
    async with sandbox.running("primed") as guest:
        before = _clones(sandbox)
        early = [await guest.fork(is_ahead=True) for _ in range(2)]
        for instance in early:
            assert await instance.wait_ready(WAIT_S)
        faults = {pid: _faults(pid) for pid in _clones(sandbox) - before}
        other = await guest.fork()
        await ask(other, "work")

        async with asyncio.timeout(WAIT_S):
            while any(_faults(pid) < had + MOST for pid, had in faults.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            while not all(instance.is_frozen for instance in early):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        faults = {pid: _faults(pid) for pid in faults}
        for instance in early:
            await ask(instance, "work")
        assert all(_faults(pid) < had + MOST for pid, had in faults.items())
        for instance in (*early, other):
            await instance.destroy()


async def _faults_of_the_first_event(
    sandbox: Sandbox, guest: Guest, *, is_ahead: bool
) -> int:
    """Without those of what it starts."""
    await guest.settle()
    before = _clones(sandbox)
    instance = await guest.fork(is_ahead=is_ahead)
    if is_ahead:
        assert await instance.wait_ready(WAIT_S)
        (pid,) = _clones(sandbox) - before
        faults = _faults(pid)
        await ask(instance, "spin", children=0)
    else:
        faults = 0
        await ask(instance, "spin", children=0)
        (pid,) = _clones(sandbox) - before
    faults = _faults(pid) - faults
    await instance.destroy()
    return faults


def _clones(sandbox: Sandbox) -> set[int]:
    return {pid for pid in descendants(sandbox.process.pid) if _is_clone(pid)}


def _is_clone(pid: int) -> bool:
    """Whether it is an instance: two namespaces below us, and not the first there."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    names = next(line for line in text.splitlines() if line.startswith("NSpid:"))
    return len(names.split()) > _DEPTH and names.split()[-1] == CLONE


_DEPTH = 3
"""Of the words of that line, those that a process of the jail has."""


def _faults(pid: int) -> int:
    """Minor ones, so far."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
