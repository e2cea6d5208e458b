"""More function versions in use than the machine has zygotes for.

First so few that all fit, then more than fit, each asked for at random and with equal
chances, which is the worst that can be asked. Who comes back after its zygote made room
for another waits for an interpreter and an import: these are the slow ones.
"""

import asyncio
import random

from benchmarks import plots
from benchmarks.callers import GrpcCaller, grpc_caller
from benchmarks.engines import Engine, running_engine
from benchmarks.openloop import Load, closed
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Series, Sheet, Table
from sandlot.results import NewKey
from sandlot_engine.node.node import MAX_ZYGOTES

TENANTS, QUICK_TENANTS = 4, 2
MORE_THAN_FIT = 1.25
QUICK_VERSIONS = 8
CALLERS = 4
DEPLOYS = 4
"""At once."""

SLOW_S = 0.02
"""From here on an answer had to wait for more than a fork."""

SEED = 7
TURNS_S = 1.0
WHAT = "one event after another, each to a function picked at random"

_SOURCE = "NUMBER = {number}\ndef handler(event, context):\n    return NUMBER\n"


async def run(plan: Plan) -> Results:
    versions = QUICK_VERSIONS if plan.is_quick else round(MAX_ZYGOTES * MORE_THAN_FIT)
    tenants = QUICK_TENANTS if plan.is_quick else TENANTS
    async with running_engine(plan.runtime) as engine:
        results = Results.of(engine, name="churn", what=WHAT)
        keys = [await engine.tenant(f"tenant-{n}") for n in range(tenants)]
        plan.console.print(f"churn: deploying {versions}")
        await _deploy(engine, keys, versions)
        series, notes = [], []
        for count, name in ((versions // 3, "fit"), (versions, "in use")):
            plan.console.print(f"churn: {count} {name}")
            load, cold = await _ask(plan, engine, keys, count)
            one = load.series(f"{count} versions", isolation=results.isolation)
            series.append(one)
            notes.append(f"{one.label}: {load.account()}; {cold:,} cold")
    results.tables.append(
        Table(
            title=f"churn: room for {MAX_ZYGOTES} zygotes",
            series=series,
            floor=series[0],
            floor_name="the first",
            notes=notes,
        )
    )
    results.sheets.append(
        Sheet(
            title="churn: slow answers",
            lines=[
                Line(
                    what=f"{one.label}: over {SLOW_S * 1e3:g} ms",
                    value=_slow_percent(one),
                    unit="% of the answers",
                    isolation=one.isolation,
                )
                for one in series
            ],
        )
    )
    if versions <= MAX_ZYGOTES:
        results.not_run.append(f"more than fit: {versions} do, when it is to be quick")
    results.plots.append(plots.distribution("answers, by versions in use", series))
    return results


def _slow_percent(series: Series) -> float:
    slow = sum(took_s > SLOW_S for took_s in series.samples_s)
    return 100 * slow / max(1, len(series.samples_s))


async def _deploy(engine: Engine, keys: list[NewKey], versions: int) -> None:
    left = iter(range(versions))

    async def work() -> None:
        for number in left:
            source = _SOURCE.format(number=number)
            await engine.deploy(keys[number % len(keys)], source, _name(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(DEPLOYS):
            group.create_task(work())


async def _ask(
    plan: Plan, engine: Engine, keys: list[NewKey], versions: int
) -> tuple[Load, int]:
    """`plan.n` events in all, by some callers at once."""
    callers = [
        grpc_caller(engine, keys[number % len(keys)], _name(number), b"{}")
        for number in range(versions)
    ]
    chance, cold = random.Random(SEED), 0  # noqa: S311 - no secret

    async def call(_: int) -> None:
        nonlocal cold
        caller: GrpcCaller = chance.choice(callers)
        reply = await caller()
        cold += reply.report.cold

    whole = Load()
    try:
        while len(whole.answered_s) + whole.failed < plan.n:
            part = await closed(CALLERS, TURNS_S, call)
            whole.arrivals += part.arrivals
            whole.answered_s += part.answered_s
            whole.throttled += part.throttled
            whole.failed += part.failed
    finally:
        for caller in callers:
            await caller.close()
    return whole, cold


def _name(number: int) -> str:
    return f"churn-{number}"
