"""One tenant offers a hundred times its share; what the others notice of it.

Two quiet tenants have a steady open-loop load of their own. It runs alone, then beside
the noise, then alone again, on the same engine. The noise is a process of its own and
each of its events burns CPU: there is far more work than the machine can do.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import noise, plots
from benchmarks.callers import grpc_caller
from benchmarks.engines import Engine, running_engine
from benchmarks.openloop import Load, evenly, offer
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Series, Sheet, Table, fairness
from benchmarks.workloads import WORKLOADS
from sandlot.results import NewKey

QUIET = ("quiet-1", "quiet-2")
SHARE_PER_S = 20.0
"""What each tenant is taken to be entitled to."""

TIMES = 100
"""So many shares are what the noisy one offers."""

RAMP_S, QUICK_S = 2.0, 0.5
PATIENCE_S = 30.0
"""For the noise to end, once nobody listens any more."""

BURN_MS = 5
CONCURRENCY = 50
"""Of each tenant, the noisy one as well."""

MUST_RATIO, AIM_RATIO = 2.0, 1.3
MUST_FAIR = 0.95

WHAT = (
    "events of quiet tenants, alone and beside one that offers a hundred times its"
    " share; from when each was due to its answer"
)
_NOISE = """
import time
def handler(event, context):
    until = time.process_time() + {burn_s}
    while time.process_time() < until:
        pass
"""
_ROOT = Path(__file__).parents[2]


async def run(plan: Plan) -> Results:
    workload = WORKLOADS["small"]
    # Together they have the samples that were asked for.
    seconds = QUICK_S if plan.is_quick else plan.n / len(QUIET) / SHARE_PER_S
    ramp_s = QUICK_S if plan.is_quick else RAMP_S
    async with running_engine(plan.runtime) as engine:
        results = Results.of(engine, name="noisy-neighbour", what=WHAT)
        keys = [await engine.tenant(name, concurrency=CONCURRENCY) for name in QUIET]
        for key in keys:
            await engine.deploy_workload(key, workload)
        loud = await engine.tenant("loud", concurrency=CONCURRENCY)
        source = _NOISE.format(burn_s=BURN_MS / 1e3)
        await engine.deploy(loud, source, noise.FUNCTION)
        await _quiet(engine, keys, ramp_s)
        alone = await _quiet(engine, keys, seconds)
        plan.console.print("noisy-neighbour: now with noise")
        (beside, told) = await _beside_noise(engine, keys, loud, seconds, ramp_s=ramp_s)
        plan.console.print("noisy-neighbour: alone again")
        again = await _quiet(engine, keys, seconds)
    series = [
        _together(loads, label, results.isolation)
        for loads, label in (
            (alone, "alone"),
            (beside, f"beside {TIMES} shares of noise"),
            (again, "alone again"),
        )
    ]
    results.tables.append(
        Table(
            title=f"{len(QUIET)} quiet tenants, {SHARE_PER_S:g} events a second each",
            series=series,
            floor=series[0],
            floor_name="alone",
            notes=[
                *(f"{name}: {load.account()}" for name, load in _named(beside)),
                f"the noise: {told}",
            ],
        )
    )
    results.sheets.append(_sheet(series, beside, told, results.isolation))
    results.plots.append(plots.distribution("quiet tenants' events", series))
    return results


def _named(loads: list[Load]) -> list[tuple[str, Load]]:
    return list(zip(QUIET, loads, strict=True))


async def _quiet(engine: Engine, keys: list[NewKey], seconds: float) -> list[Load]:
    workload = WORKLOADS["small"]
    callers = [
        grpc_caller(engine, key, workload.name, workload.payload) for key in keys
    ]
    try:
        return await asyncio.gather(
            *(offer(list(evenly(SHARE_PER_S, seconds)), call) for call in callers)
        )
    finally:
        for caller in callers:
            await caller.close()


async def _beside_noise(
    engine: Engine, keys: list[NewKey], loud: NewKey, seconds: float, *, ramp_s: float
) -> tuple[list[Load], dict[str, Any]]:
    process = _start_noise(engine.grpc, loud, seconds + ramp_s)
    try:
        # It is under way by then.
        await asyncio.sleep(ramp_s / 2)
        loads = await _quiet(engine, keys, seconds)
        output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    told: dict[str, Any] = json.loads(output)
    return loads, told


def _start_noise(
    address: str, key: NewKey, seconds: float
) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.noise", address),
            *(str(SHARE_PER_S * TIMES), str(seconds)),
        ],
        cwd=_ROOT,
        # A stranger's caller is in no session of ours, with which the kernel would have
        # it share our callers' part of the processors.
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(f"{key.access_key_id}\n{key.secret_access_key}\n".encode())
    process.stdin.close()
    process.stdin = None
    return process


def _together(loads: list[Load], label: str, isolation: str) -> Series:
    samples = [took_s for load in loads for took_s in load.answered_s]
    return Series(label=label, samples_s=samples, isolation=isolation)


def _sheet(
    series: list[Series], beside: list[Load], told: dict[str, Any], isolation: str
) -> Sheet:
    alone, loud, again = series
    base_ms = max(1e-6, (alone.ms(99) + again.ms(99)) / 2)
    answered = [len(load.answered_s) / max(1, load.arrivals) for load in beside]
    ratio = Line(
        what="quiet tenants' p99 beside the noise, to theirs alone",
        value=loud.ms(99) / base_ms,
        unit="x",
        must=MUST_RATIO,
        aim=AIM_RATIO,
        isolation=isolation,
    )
    lines = [
        ratio,
        Line(
            what="quiet tenants' events that were answered",
            value=100 * sum(answered) / len(answered),
            unit="%",
            must=100,
            is_more_better=True,
            isolation=isolation,
        ),
        Line(
            what="Jain's index of that, between them",
            value=fairness(answered),
            unit="",
            must=MUST_FAIR,
            is_more_better=True,
            isolation=isolation,
        ),
        Line(
            what="the noise that was really offered",
            value=told["offered_per_s"] / SHARE_PER_S,
            unit="shares",
            note=f"{BURN_MS} ms of CPU each, {told['answered']:,} answered",
        ),
    ]
    return Sheet(
        title="fairness",
        lines=lines,
        notes=["noise, quiet callers and engine share this machine's cores"],
    )
