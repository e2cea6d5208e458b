"""After a hostile program: another tenant is answered, and the host is as it was.

An `Arena` is a jail that programs share, an instance for each; `attacked` gives one a
jail of its own. While the hostile instance still lives, another tenant's function has
to answer. When instance or jail are gone, there must be as many processes, mounts,
cgroups and descriptors as before, the same files where code lies, and hardly more
memory in use.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sandlot_sandbox.host.cells import AHEAD
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.outcome import Ended, Ending
from tests.descriptors import open_files
from tests.isolation.machine import (
    WAIT_S,
    Guest,
    Sandbox,
    descendants,
    kernel_facts,
    send,
)

CGROUPS = Path("/sys/fs/cgroup")
OURS = "sandlot-"
"""Then the launcher's pid: the cgroup that all of its own are in."""

LAUNCHER_GROWTH_KB = 4 << 10
"""What one program may leave the launcher larger by: a page here and there."""

ENGINE_GROWTH_KB = 64 << 10
"""The same for this process, which plays the engine, and also is a test runner."""

_DEPTH = 6
"""Levels below a hierarchy's root at which a cgroup of ours may begin."""

_LOOK_EVERY_S = 0.01


@dataclass(frozen=True)
class Host:
    """The host at one moment, as far as a jail could leave something behind."""

    processes: int
    """Below the launcher, dead ones that nobody reaped among them."""

    mounts: tuple[int, int]
    """In our mount namespace, and in the launcher's."""

    cgroups: int
    """Of this launcher."""

    launcher_descriptors: int
    engine_descriptors: int
    files: tuple[tuple[str, int, int], ...]
    """Of every package and runtime: its path, its size and when it was changed."""

    launcher_kb: int
    engine_kb: int

    @classmethod
    def now(cls, sandbox: Sandbox) -> "Host":
        launcher = sandbox.process.pid
        return cls(
            processes=len(descendants(launcher)),
            mounts=(_mounts("self"), _mounts(launcher)),
            cgroups=sum(1 for _ in _cgroups(f"{OURS}{launcher}")),
            launcher_descriptors=_seen(lambda: open_files(launcher)),
            engine_descriptors=open_files(),
            files=tuple(_files(sandbox)),
            launcher_kb=_resident_kb(launcher),
            engine_kb=_resident_kb("self"),
        )

    def difference(self, later: "Host") -> dict[str, Any]:
        """What changed, as (before, after), but for the memory that is tolerated."""
        growth = {"launcher_kb": LAUNCHER_GROWTH_KB, "engine_kb": ENGINE_GROWTH_KB}
        changed = {}
        for name in (field.name for field in fields(self)):
            before, after = getattr(self, name), getattr(later, name)
            if name in growth:
                is_same = after - before <= growth[name]
            else:
                is_same = before == after
            if not is_same:
                changed[name] = (before, after)
        return changed


@asynccontextmanager
async def attacked(
    sandbox: Sandbox, neighbour: Guest, guest: str, **settings: Any
) -> AsyncIterator[Guest]:
    """A jail for a hostile program, and afterwards the check. `neighbour` is another
    tenant's jail in the same sandbox.

    The guest was ordered and not waited for.
    """
    sandbox.store.add(guest)
    before = await quiet_host(sandbox, neighbour)
    made = sandbox.make_zygote(guest, **settings)
    try:
        yield made
        await expect_answers(neighbour)
    finally:
        made.zygote.kill()
        async with asyncio.timeout(WAIT_S):
            await made.lost.wait()
    await expect_answers(neighbour)
    await wait_as_before(sandbox, before)


async def expect_answers(neighbour: Guest) -> None:
    """A new instance of another tenant's starts, and answers with what is its own."""
    environment = await neighbour.ask("environment")
    assert environment["MINE"] == "yes"


class Arena:
    """A jail of one guest, for programs that are played in it one after another.

    It is replaced where a program was the end of it.
    """

    def __init__(self, sandbox: Sandbox, neighbour: Guest, guest: str) -> None:
        self._sandbox = sandbox
        self._neighbour = neighbour
        self._guest = guest
        self._made: Guest | None = None

    async def play(
        self, program: str, *, timeout_s: float = WAIT_S, **arguments: Any
    ) -> Any:
        """`ending_of`, told in short: the answer; for a failure `(Ended, error type)`;
        for every other end the `Ended`."""
        return told(await self.ending_of(program, timeout_s=timeout_s, **arguments))

    async def ending_of(
        self, program: str, *, timeout_s: float = WAIT_S, **arguments: Any
    ) -> Ending:
        """Run one program in an instance of its own, with the check afterwards.

        Where it was the end of its instance, another one has to answer.
        """
        guest = await self._jail()
        before = await quiet_host(self._sandbox, self._neighbour, guest)
        instance = await guest.fork()
        ending = await send(instance, program, timeout_s=timeout_s, **arguments)
        await expect_answers(self._neighbour)
        await instance.destroy()
        if not ending.is_reusable:
            assert await guest.ask("nothing") == "nothing"
        await wait_as_before(self._sandbox, before)
        return ending

    async def close(self) -> None:
        """End the jail."""
        if self._made is not None:
            self._made.zygote.kill()
            async with asyncio.timeout(WAIT_S):
                await self._made.lost.wait()

    async def _jail(self) -> Guest:
        if self._made is None or self._made.zygote.is_lost:
            self._made = self._sandbox.make_zygote(self._guest)
            assert await self._made.zygote.wait_ready(), self._made.zygote.reason
        return self._made


@asynccontextmanager
async def arena(sandbox: Sandbox, neighbour: Guest, guest: str) -> AsyncIterator[Arena]:
    """An arena whose jail is ended, with the check on the host once more."""
    sandbox.store.add(guest)
    before = await quiet_host(sandbox, neighbour)
    made = Arena(sandbox, neighbour, guest)
    try:
        yield made
    finally:
        await made.close()
    await expect_answers(neighbour)
    await wait_as_before(sandbox, before)


async def instance_of(guest: Guest) -> Instance:
    """An instance; the test fails if the import was not fit to be cloned."""
    is_safe = await guest.zygote.wait_ready()
    assert is_safe, guest.zygote.reason
    return await guest.fork()


def told(ending: Ending) -> Any:
    """What `Arena.play` returns."""
    match ending.ended:
        case Ended.ANSWERED:
            return json.loads(ending.payload)
        case Ended.FAILED | Ended.INIT_FAILED:
            return ending.ended, ending.error_type
        case other:
            return other


class Either(tuple[Any, ...]):
    """For a table: any of these will do."""

    __slots__ = ()

    def __new__(cls, *values: Any) -> "Either":
        return super().__new__(cls, values)

    def __eq__(self, other: object) -> bool:
        return any(value == other for value in self)

    __hash__ = None  # type: ignore[assignment]


STALLS_S = 0.4


def patience_for(expected: object) -> float:
    """The timeout of a program: a short one where it may come to that, and otherwise
    none that it meets, however slow the machine is."""
    return STALLS_S if expected == Ended.TIMED_OUT else WAIT_S


class Only(tuple[Any, ...]):
    """For a table: a list of nothing but these, and at least one of them."""

    __slots__ = ()

    def __new__(cls, *values: Any) -> "Only":
        return super().__new__(cls, values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list) or not other:
            return False
        return all(value in tuple(self) for value in other)

    __hash__ = None  # type: ignore[assignment]


async def quiet_host(sandbox: Sandbox, *guests: Guest) -> Host:
    """The host, once nothing is being made for these any more."""
    for guest in guests:
        guest.zygote.prepare_cells()
        cells = guest.zygote._cells  # noqa: SLF001 - nobody tells when they are ready
        await _wait_until(lambda: cells.ready == AHEAD, lambda: repr(cells))  # noqa: B023
    # Of the last cell it lets go after it has handed it on.
    launcher = sandbox.process.pid
    await _wait_until(lambda: _waits(launcher), lambda: f"{launcher} is at work")
    return Host.now(sandbox)


async def wait_as_before(sandbox: Sandbox, before: Host) -> None:
    # Cheaper to look at than all the rest, and the last to be as before.
    launcher = sandbox.process.pid
    await _wait_until(
        lambda: len(descendants(launcher)) == before.processes,
        lambda: f"not {before.processes} processes: {descendants(launcher)}",
    )
    await _wait_until(
        lambda: not before.difference(Host.now(sandbox)),
        lambda: f"left behind: {before.difference(Host.now(sandbox))}",
    )


async def _wait_until(look: Callable[[], bool], shown: Callable[[], str]) -> None:
    """For what no event tells; fails with `shown` when it does not come."""
    deadline = time.monotonic() + WAIT_S
    never = asyncio.Event()
    while not look():
        assert time.monotonic() < deadline, shown()
        with suppress(TimeoutError):
            await asyncio.wait_for(never.wait(), _LOOK_EVERY_S)


def _waits(pid: int) -> bool:
    """Whether it has nothing to do: it neither runs nor would if it had a processor."""
    state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    return state == b"S"


def _mounts(pid: int | str) -> int:
    return _seen(lambda: len(Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines()))


def _cgroups(name: str) -> Iterator[Path]:
    for folder, names, _ in os.walk(CGROUPS):
        path = Path(folder)
        if any(part.partition(".")[0] == name for part in path.parts):
            yield path
        elif len(path.relative_to(CGROUPS).parts) > _DEPTH:
            names.clear()


def _files(sandbox: Sandbox) -> Iterator[tuple[str, int, int]]:
    for root in (sandbox.store.code, *(r.guest_code for r in sandbox.store.runtimes)):
        for folder, _, names in os.walk(root):
            for path in (f"{folder}/{name}" for name in names):
                status = os.lstat(path)
                yield path, status.st_size, status.st_mtime_ns


def _resident_kb(pid: int | str) -> int:
    return int(kernel_facts(pid)["VmRSS"].split()[0])


def _seen(look: Callable[[], int]) -> int:
    """0 where the kernel does not let us look: the launcher hides, and only root sees
    it all the same."""
    try:
        return look()
    except PermissionError:
        return 0
