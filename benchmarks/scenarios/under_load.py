"""Open-loop load on a warm engine: latency from when each event was due, by rate.

Arrivals are fixed ahead and do not wait for answers, so a stall falls on all that were
due meanwhile. Rates are shares of what the engine reaches closed-loop in the same run.
"""

from benchmarks import plots
from benchmarks.callers import grpc_caller
from benchmarks.engines import running_engine
from benchmarks.openloop import closed, offer, poisson
from benchmarks.plots import Curve, Plot
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Series, Sheet, Table, percentile
from benchmarks.workloads import WORKLOADS

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.2)
"""Of the closed-loop rate. The last is more than it can do: what then?"""

CALLERS = 16
RATE_S, QUICK_RATE_S = 5.0, 0.25
SEED = 20190715

WHAT = (
    "warm invocations over gRPC that arrive as a Poisson process: from the time that"
    " each was due to its answer, the wait in every queue included"
)


async def run(plan: Plan) -> Results:
    workload = WORKLOADS["small"]
    seconds = QUICK_RATE_S if plan.is_quick else RATE_S
    async with running_engine(plan.runtime) as engine:
        results = Results.of(engine, name="open-loop", what=WHAT)
        key = await engine.tenant("caller")
        await engine.deploy_workload(key, workload)
        call = grpc_caller(engine, key, workload.name, workload.payload)
        try:
            await closed(CALLERS, seconds / 2, call)
            reached = await closed(CALLERS, seconds, call)
            most = len(reached.answered_s) / reached.took_s
            accounts, series = [], []
            for share in plan.progress(SHARES, "open-loop", len(SHARES)):
                rate = share * most
                # Long enough for the samples that were asked for.
                duration = max(seconds, min(plan.n / rate, 4 * seconds))
                load = await offer(list(poisson(rate, duration, seed=SEED)), call)
                one = load.series(
                    f"{share:.0%} of that: {rate:,.0f}/s", isolation=results.isolation
                )
                series.append(one)
                accounts.append(f"{one.label}: {load.account()}")
        finally:
            await call.close()
    closed_loop = reached.series(
        f"closed loop, {CALLERS} callers: {most:,.0f}/s", isolation=results.isolation
    )
    results.tables.append(
        Table(
            title="open loop small, over gRPC",
            series=[closed_loop, *series],
            floor=closed_loop,
            floor_name="closed loop",
            notes=accounts,
        )
    )
    results.sheets.append(_sheet(series, most, results.isolation))
    results.plots += [
        plots.distribution("open loop, from the scheduled time", series),
        _curve(series, most),
    ]
    return results


def _sheet(series: list[Series], most: float, isolation: str) -> Sheet:
    half = series[SHARES.index(0.5)]
    return Sheet(
        title="open loop: at half of what it can do",
        lines=[
            Line(
                what="closed-loop rate",
                value=round(most),
                unit="answers per second",
                must=2_500,
                aim=10_000,
                is_more_better=True,
                isolation=isolation,
            ),
            Line(
                what="p50",
                value=half.ms(50),
                unit="ms",
                must=1.2,
                aim=0.6,
                isolation=isolation,
            ),
            Line(
                what="p99",
                value=half.ms(99),
                unit="ms",
                must=4.0,
                aim=2.0,
                isolation=isolation,
            ),
        ],
        notes=["wanted: reference goals for warm calls over gRPC, two cores"],
    )


def _curve(series: list[Series], most: float) -> Plot:
    ordered = [sorted(one.samples_s) for one in series]
    return Plot(
        title="latency against load",
        x="offered, per second",
        y="ms (logarithmic)",
        curves=[
            Curve(
                name=f"p{share:g}",
                points=[
                    (offered * most, percentile(samples, share) * 1e3)
                    for offered, samples in zip(SHARES, ordered, strict=True)
                    if samples
                ],
                has_dots=True,
            )
            for share in (50, 90, 99, 99.9)
        ],
        is_log_y=True,
    )
