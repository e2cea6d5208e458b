"""A program's first event in a jail, beside the same program exec'd without one.

Both speak to the same Runtime API in the same run, in turns. From the assignment (a
cell waits, and what becomes the program is there) to the arrival of the answer.
"""

import time
from itertools import groupby

from benchmarks import hellos
from benchmarks.hellos import Hello
from benchmarks.jails import TIMEOUT_S, Jails, ReadyZygote, found_runtimes, open_jails
from benchmarks.peers.programs import exec_program
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table, differences, median_between_ms
from sandlot_sandbox.outcome import Ended

MUST_MS = 3.0
"""What the jail may add to a bare exec, p50."""

WARM_UP = 5
"""Rounds of each that are not counted."""

WHAT = (
    "a program started on demand in a cell that was made before, and its first answer;"
    " beside a bare exec of the same files against the same Runtime API, in turns"
)


async def run(plan: Plan) -> Results:
    with hellos.written(found_runtimes()) as (found, missing):
        programs = [hello for hello in found if hello.is_program]
        results: Results | None = None
        for runtime, those in groupby(programs, key=lambda hello: hello.runtime.name):
            async with open_jails(runtime) as jails:
                results = results or Results.of(jails, name="programs", what=WHAT)
                for hello in those:
                    results.tables.append(
                        await _measure(plan, jails, hello, results.isolation)
                    )
    if results is None:
        raise RuntimeError("there is no runtime of programs here")
    results.python = ", ".join(dict.fromkeys(_shown(hello) for hello in programs))
    results.not_run += missing
    return results


def _shown(hello: Hello) -> str:
    return f"{hello.runtime.name} {hello.runtime.version}".strip()


async def _measure(plan: Plan, jails: Jails, hello: Hello, isolation: str) -> Table:
    ours = Series(label="in a jail", isolation=isolation)
    init = Series(label="  fork to ready", isolation=isolation)
    answer = Series(label="  ready to answer", isolation=isolation)
    bare = Series(label="bare exec", isolation="none")
    all_of_them = [ours, init, answer, bare]
    package = jails.unpack(hello)
    async with jails.zygote(hello, environment=hello.environment()) as zygote:
        for number in plan.progress(
            range(plan.n + WARM_UP), f"programs {hello.name}", plan.n
        ):
            if number == WARM_UP:
                for series in all_of_them:
                    series.samples_s.clear()
            await zygote.settle()
            await _jailed(zygote, hello, ours, init, answer)
            await zygote.settle()
            took, said = await exec_program(
                hello, jails.runtime, package, zygote.header()
            )
            hellos.expect(said, f"{hello.name}, not jailed,")
            bare.add(took)
    overhead = differences(
        "the jail's overhead over a bare exec", ours, bare, target_ms=MUST_MS
    )
    overhead.isolation = isolation
    return Table(
        title=f"programs {hello.name}: hello world",
        series=[*all_of_them, overhead],
        floor=bare,
        floor_name="bare exec",
        notes=[_note(overhead, p50_less_p50=ours.ms(50) - bare.ms(50))],
    )


def _note(overhead: Series, *, p50_less_p50: float) -> str:
    low, high = median_between_ms(overhead)
    return (
        "the overhead: each jailed start less the bare one after it; its p50 is between"
        f" {low:.3f} and {high:.3f} ms with 95 % certainty; p50 less p50 is"
        f" {p50_less_p50:.3f} ms"
    )


async def _jailed(
    zygote: ReadyZygote, hello: Hello, ours: Series, init: Series, answer: Series
) -> None:
    header = zygote.header()
    began = time.perf_counter()
    instance = await zygote.fork()
    ending = await instance.invoke(header, hellos.EVENT, timeout_s=TIMEOUT_S)
    took = time.perf_counter() - began
    await instance.destroy()
    if ending.ended is not Ended.ANSWERED or ending.init_s is None:
        raise RuntimeError(f"{hello.name}: not an answer: {ending} {ending.printed}")
    hellos.expect(ending.payload, hello.name)
    ours.add(took)
    init.add(ending.init_s)
    answer.add(ending.duration_s)
