"""Hello world in every runtime that this machine has: cold, warm, memory.

A clone of a zygote for each Python, a program for all others; each in the same jail.
"""

import asyncio
import time
from itertools import groupby

from benchmarks import hellos
from benchmarks.hellos import Hello
from benchmarks.jails import TIMEOUT_S, Jails, ReadyZygote, found_runtimes, open_jails
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, SideBySide
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.outcome import Ended, Ending

WARM_UP = 5
"""Starts, and then events, that are not counted."""

_LOOK_S = 0.01

WHAT = (
    "hello world: cold on a new instance in a cell that was made before, warm on one"
    " that has answered; from the engine's assignment to the answer's arrival"
)
_TITLES = [
    *("runtime", "version", "instance", "n", "cold p50", "cold p99"),
    *("warm p50", "warm p99", "Max Memory Used, MB", "idle instance adds, MB"),
    "isolation",
]
_MEMORY = (
    "Max Memory Used: as the REPORT line has it, of the cell or of what the process"
    " says of itself, which has what it shares with its zygote"
)
_IDLE = (
    "idle instance adds: what the cell's control group counts once it is frozen; pages"
    " that it shares with its zygote are the zygote's. 0 where no group counts"
)
_KB_PER_MB = 1024


async def run(plan: Plan) -> Results:
    with hellos.written(found_runtimes()) as (found, missing):
        results: Results | None = None
        rows: list[list[str | float]] = []
        for runtime, those in groupby(found, key=lambda hello: hello.runtime.name):
            async with open_jails(runtime) as jails:
                results = results or Results.of(jails, name="runtimes", what=WHAT)
                isolation = results.isolation
                rows += [await _measure(plan, jails, each, isolation) for each in those]
    if results is None:
        raise RuntimeError("there is no runtime here")
    results.python = "as in the table"
    results.side_by_side.append(
        SideBySide(
            title="hello world in each runtime",
            titles=_TITLES,
            rows=rows,
            notes=[_MEMORY, _IDLE],
        )
    )
    results.not_run += missing
    return results


async def _measure(
    plan: Plan, jails: Jails, hello: Hello, isolation: str
) -> list[str | float]:
    cold, warm = Series(label="cold"), Series(label="warm")
    environment = hello.environment()
    async with jails.zygote(hello, environment=environment) as zygote:
        label = f"runtimes {hello.name}"
        for number in plan.progress(range(WARM_UP + plan.n), label, plan.n):
            await zygote.settle()
            took, _, instance = await _start(zygote, hello)
            await instance.destroy()
            if number >= WARM_UP:
                cold.add(took)
        await zygote.settle()
        _, ending, instance = await _start(zygote, hello)
        for number in range(WARM_UP + plan.n):
            took, ending = await _ask(zygote, hello, instance)
            if number >= WARM_UP:
                warm.add(took)
        idle_kb = await _idle_kb(instance)
        await instance.destroy()
    return [
        hello.name,
        hello.runtime.version or "its own",
        "program" if hello.is_program else "clone",
        plan.n,
        *(round(series.ms(share), 3) for series in (cold, warm) for share in (50, 99)),
        f"{ending.peak_memory_kb / _KB_PER_MB:.1f}",
        f"{idle_kb / _KB_PER_MB:.1f}",
        isolation,
    ]


async def _start(zygote: ReadyZygote, hello: Hello) -> tuple[float, Ending, Instance]:
    began = time.perf_counter()
    instance = await zygote.fork()
    _, ending = await _ask(zygote, hello, instance)
    return time.perf_counter() - began, ending, instance


async def _ask(
    zygote: ReadyZygote, hello: Hello, instance: Instance
) -> tuple[float, Ending]:
    header = zygote.header()
    began = time.perf_counter()
    ending = await instance.invoke(header, hellos.EVENT, timeout_s=TIMEOUT_S)
    took = time.perf_counter() - began
    if ending.ended is not Ended.ANSWERED:
        raise RuntimeError(f"{hello.name}: not an answer: {ending} {ending.printed}")
    hellos.expect(ending.payload, hello.name)
    return took, ending


async def _idle_kb(instance: Instance) -> int:
    """What it uses once its minder has frozen it."""
    async with asyncio.timeout(TIMEOUT_S):
        while not instance.is_frozen:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_LOOK_S)
    return instance.idle.frozen_kb
