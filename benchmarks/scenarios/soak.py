"""Many instances, one after another: afterwards there is as much of everything as
before.

Each life is a fork, an event and a kill, several at a time, in a few jails. What would
grow by a little with each of them (processes, mounts, control groups, namespaces,
descriptors, memory) has grown by a lot after some thousand.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.jails import TIMEOUT_S, ReadyZygote, open_jails
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from sandlot_sandbox.outcome import Ended

JAILS = 3
AT_ONCE = 2
"""Instances of each jail that live at the same time."""

WARM_UP = 60
"""Lives before the first count: whatever is made once, is then there."""

_LOOK_S = 0.01
GROWTH_KB = {"launcher_kb": 2 << 10, "host_kb": 8 << 10}
"""Memory that may come to be used: a page here and there, whatever the number."""

SETTLE_S = 30.0
"""How long the kernel may take to end the last namespaces."""

WHAT = (
    "whole lives: a fork, an event, an answer, a kill until all is dead; several at a"
    " time"
)
_CGROUPS = Path("/sys/fs/cgroup")
_DEPTH = 6
_NAMESPACES = ("net", "pid", "mnt", "user")


class Soaked(Protocol):
    """A jail that is soaked: one life at a time, and rest."""

    async def live(self) -> None: ...

    async def settle(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is of everything at one moment."""

    processes: int
    """Below the launcher, dead ones that nobody reaped among them."""

    mounts: int
    """In the launcher's namespace and ours."""

    cgroups: int
    namespaces: int
    """Different ones of processes below the launcher, of all kinds."""

    launcher_descriptors: int
    host_descriptors: int
    launcher_kb: int
    host_kb: int

    @classmethod
    def now(cls, launcher: int) -> "Counts":
        process = psutil.Process(launcher)
        below = [child.pid for child in process.children(recursive=True)]
        return cls(
            processes=len(below),
            mounts=_mounts("self") + _mounts(launcher),
            cgroups=sum(1 for _ in _groups(f"sandlot-{launcher}")),
            namespaces=len(set(_namespaces(below))),
            launcher_descriptors=_seen(lambda: _descriptors(launcher)),
            host_descriptors=_descriptors("self"),
            launcher_kb=process.memory_info().rss >> 10,
            host_kb=psutil.Process().memory_info().rss >> 10,
        )

    def left_behind(self, later: "Counts") -> dict[str, tuple[int, int]]:
        """What there is more of later, or less, as (before, after)."""
        pairs = {
            f.name: (getattr(self, f.name), getattr(later, f.name))
            for f in fields(self)
        }
        return {name: pair for name, pair in pairs.items() if not _is_same(name, *pair)}


def _is_same(name: str, before: int, after: int) -> bool:
    if name in GROWTH_KB:
        return after - before <= GROWTH_KB[name]
    return after == before


async def soak(
    jails: list[Soaked], launcher: int, lives: int, *, on_life: Callable[[], object]
) -> tuple[Counts, Counts]:
    """So many lives, shared out among the jails; what there was before and after."""
    await _live(jails, WARM_UP, lambda: None)
    before = await _settled(jails, launcher)
    await _live(jails, lives, on_life)
    after = await _settled(jails, launcher)
    deadline = time.monotonic() + SETTLE_S
    while before.left_behind(after) and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_S)
        after = Counts.now(launcher)
    return before, after


async def _live(jails: list[Soaked], lives: int, on_life: Callable[[], object]) -> None:
    left = iter(range(lives))

    async def work(jail: Soaked) -> None:
        for _ in left:
            await jail.live()
            on_life()

    async with asyncio.TaskGroup() as workers:
        for jail in jails * AT_ONCE:
            workers.create_task(work(jail))


async def _settled(jails: list[Soaked], launcher: int) -> Counts:
    for jail in jails:
        await jail.settle()
    # Of the last cell it lets go after it has handed it on.
    process, deadline = psutil.Process(launcher), time.monotonic() + SETTLE_S
    while process.status() != psutil.STATUS_SLEEPING and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)
    return Counts.now(launcher)


class _Jail:
    def __init__(self, zygote: ReadyZygote, payload: bytes, series: Series) -> None:
        self._zygote = zygote
        self._payload = payload
        self._series = series

    async def live(self) -> None:
        began = time.perf_counter()
        instance = await self._zygote.fork()
        ending = await instance.invoke(
            self._zygote.header(), self._payload, timeout_s=TIMEOUT_S
        )
        await instance.destroy()
        self._series.add(time.perf_counter() - began)
        if ending.ended is not Ended.ANSWERED:
            raise RuntimeError(f"an instance {ending.ended.value}: {ending.printed}")

    async def settle(self) -> None:
        await self._zygote.settle()


async def run(plan: Plan) -> Results:
    """Raises `SystemExit` if something is left behind."""
    async with open_jails(plan.runtime) as jails:
        results = Results.of(jails, name="soak", what=WHAT)
        workload = next(iter(plan.present()))
        series = Series(label=f"{JAILS} jails, {AT_ONCE} at a time in each")
        async with AsyncExitStack() as stack:
            soaked: list[Soaked] = [
                _Jail(
                    await stack.enter_async_context(jails.zygote(workload)),
                    workload.payload,
                    series,
                )
                for _ in range(JAILS)
            ]
            began = time.perf_counter()
            progress = iter(plan.progress(range(plan.n), "soak", plan.n))
            before, after = await soak(
                soaked, _launcher(), plan.n, on_life=lambda: next(progress, None)
            )
            del series.samples_s[:WARM_UP]
            took_s = time.perf_counter() - began
    results.tables.append(
        Table(
            title=f"soak {workload.name}: {plan.n:,} lives in {took_s:.0f} s",
            series=[series],
            notes=[
                f"{f.name}: {getattr(before, f.name):,} before,"
                f" {getattr(after, f.name):,} after"
                for f in fields(Counts)
            ],
        )
    )
    if left := before.left_behind(after):
        raise SystemExit(f"left behind, as (before, after): {left}")
    return results


def _launcher() -> int:
    """Of our children."""
    (pid,) = [
        child.pid
        for child in psutil.Process().children()
        if "sandlot_sandbox.launcher" in child.cmdline()
    ]
    return pid


def _mounts(pid: int | str) -> int:
    return _seen(lambda: Path(f"/proc/{pid}/mountinfo").read_bytes().count(b"\n"))


def _descriptors(pid: int | str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _groups(name: str) -> Iterator[Path]:
    for folder, names, _ in os.walk(_CGROUPS):
        path = Path(folder)
        if any(part.partition(".")[0] == name for part in path.parts):
            yield path
        elif len(path.relative_to(_CGROUPS).parts) > _DEPTH:
            names.clear()


def _namespaces(pids: list[int]) -> Iterator[str]:
    for pid, kind in itertools.product(pids, _NAMESPACES):
        try:
            yield os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115 - no file
        except OSError:
            continue  # it has ended, or is hidden from an ordinary user


def _seen(look: Callable[[], int]) -> int:
    """0 where the kernel does not let us look: an ordinary user, at the launcher."""
    try:
        return look()
    except PermissionError:
        return 0
