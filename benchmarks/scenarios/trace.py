"""An invocation trace of Azure's kind: replayed, and kept alive by one policy or other.

`--trace FOLDER` takes the published files of 2019; without it one is made with their
published marginals. The replay is of a part of it, on a whole engine, with arrivals
fixed ahead. The frontier is a simulation of all of it: what memory buys which policy.
"""

from dataclasses import dataclass, field, replace

from benchmarks import plots
from benchmarks.callers import GrpcCaller, grpc_caller
from benchmarks.engines import Engine, running_engine
from benchmarks.openloop import Load, offer
from benchmarks.plots import Curve, Plot
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Series, Sheet, Table
from benchmarks.traces import azure, generator, keep_alive, replay, room
from benchmarks.traces.azure import Traced
from benchmarks.traces.keep_alive import App, Outcome
from benchmarks.traces.replay import Arrival, Scale
from sandlot.results import NewKey

APPS, QUICK_APPS = 1_000, 150
DAYS, QUICK_DAYS = 7, 1
SEED = 2019
SCALE = Scale(
    functions=100,
    first_minute=600,
    minutes=120,
    seconds=120.0,
    most_per_s=150.0,
    longest_s=2.0,
)
QUICK_SCALE = Scale(
    functions=8,
    first_minute=600,
    minutes=60,
    seconds=2.0,
    most_per_s=30.0,
    longest_s=0.2,
)
IDLE_S = 600.0
"""The keep-alive time that is replayed, by the trace's clock."""

WHAT = (
    "a trace's invocations: from when each was due to its answer, less what its handler"
    " took; and the cold starts that each keep-alive policy would have had"
)
_PUBLISHED = "published in: Shahrad et al., Serverless in the Wild, USENIX ATC 2020"
_SIMULATED = (
    "simulated; memory that idles, as a share of what fixed 10 min needs. Cold: not in"
    " memory. With zygotes: all apps together have as much as fixed 10 min has on"
    " average, and cold is what finds no zygote; from one it is milliseconds. A zygote"
    " is taken to be as large as its app, and none to be slower back than others"
)
ZYGOTES = "zygotes"
_SOURCE = """
import json, time
NUMBER = {number}
def handler(event, context):
    time.sleep(event["takes"])
    return event["takes"]
"""


async def run(plan: Plan) -> Results:
    days = QUICK_DAYS if plan.is_quick else DAYS
    if plan.trace is not None:
        try:
            functions = azure.read(plan.trace, days=days)
        except FileNotFoundError as error:
            raise SystemExit(f"there is no {error.filename}") from error
        told = f"of {plan.trace.name}"
        apps = len({each.app for each in functions})
    else:
        apps = QUICK_APPS if plan.is_quick else APPS
        functions, told = generator.make(apps, days=days, seed=SEED), "made"
    scale = QUICK_SCALE if plan.is_quick else SCALE
    idle_s = max(1.0, IDLE_S / scale.speed)
    async with running_engine(plan.runtime, "--idle", f"{idle_s:g}") as engine:
        results = Results.of(engine, name="trace", what=WHAT)
        replayed = _Replay(plan, engine, replay.chosen(functions, scale), scale)
        await replayed.run()
    results.tables.append(replayed.table(results.isolation, idle_s))
    results.plots.append(
        plots.distribution("replayed, from the scheduled time", replayed.series)
    )
    results.sheets.append(_marginals(functions, apps, told))
    _add_frontier(results, keep_alive.apps_of(functions))
    return results


@dataclass(slots=True)
class _Replay:
    plan: Plan
    engine: Engine
    functions: list[Traced]
    scale: Scale
    load: Load = field(default_factory=Load)
    series: list[Series] = field(default_factory=list)

    async def run(self) -> None:
        key = await self.engine.tenant("traced")
        for number in self.plan.progress(
            range(len(self.functions)), "trace: deploying", len(self.functions)
        ):
            source = _SOURCE.format(number=number)
            await self.engine.deploy(key, source, f"traced-{number}")
        due = replay.arrivals(self.functions, self.scale, seed=SEED)
        self.plan.console.print(
            f"trace: {len(due):,} invocations in {self.scale.seconds:g} s"
        )
        await self._replay(key, due)

    async def _replay(self, key: NewKey, due: list[Arrival]) -> None:
        caller = grpc_caller(self.engine, key, "", b"")
        cold, warm = Series(label="cold"), Series(label="warm")
        clock_s: dict[int, tuple[bool, float]] = {}

        async def call(number: int) -> None:
            _, index, takes_s = due[number]
            is_cold = await _invoke(caller, f"traced-{index}", takes_s)
            clock_s[number] = is_cold, takes_s

        try:
            self.load = await offer([at for at, _, _ in due], call)
        finally:
            await caller.close()
        for number, took_s in self.load.answered_by.items():
            is_cold, takes_s = clock_s[number]
            (cold if is_cold else warm).add(max(0.0, took_s - takes_s))
        self.series = [warm, cold]

    def table(self, isolation: str, idle_s: float) -> Table:
        warm, cold = self.series
        for each in self.series:
            each.isolation = isolation
        answered = len(warm.samples_s) + len(cold.samples_s)
        cold_percent = 100 * len(cold.samples_s) / max(1, answered)
        scale, kept = self.scale, idle_s * self.scale.speed / 60
        return Table(
            title=f"trace: {scale.minutes} minutes of it in {scale.seconds:g} s",
            series=[warm, cold],
            floor=warm,
            floor_name="warm",
            notes=[
                self.load.account(),
                f"{len(self.functions)} functions; cold: {cold_percent:.1f} %",
                f"instances are kept {idle_s:g} s, by the trace's clock {kept:.0f} min",
                "times are from when each was due, less what its handler slept",
            ],
        )


async def _invoke(caller: GrpcCaller, function: str, takes_s: float) -> bool:
    request = type(caller.request)()
    request.CopyFrom(caller.request)
    request.function = function
    request.payload = f'{{"takes": {takes_s:.6f}}}'.encode()
    reply = await caller.ask(request)
    return bool(reply.report.cold)


def _marginals(functions: list[Traced], count: int, told: str) -> Sheet:
    """Of the whole trace, beside those that were published; `count` apps, with those
    that nobody invoked in its days."""
    apps: dict[str, int] = {}
    days = max(len(each.counts) for each in functions) / azure.MINUTES
    for each in functions:
        apps[each.app] = apps.get(each.app, 0) + each.invocations
    per_day = [total / days for total in apps.values()]
    per_day += [0.0] * (count - len(apps))
    rows = [
        ("apps invoked at most once an hour", _share(per_day, 24.0), "45"),
        ("apps invoked at most once a minute", _share(per_day, 1440.0), "81"),
        (
            "invocations of the 18.6 % most popular apps",
            100 * generator.popular_share(functions, round(0.186 * count)),
            "99.6",
        ),
        (
            "functions that take less than 1 s on average",
            _share([each.average_ms for each in functions], 1000.0),
            "50",
        ),
        (
            "apps with less than 400 MB",
            _share([each.memory_mb for each in functions], 400.0),
            "90 (of their maximum)",
        ),
    ]
    return Sheet(
        title=f"trace: {len(functions):,} functions of {count:,} apps, {told}",
        lines=[
            Line(what=what, value=value, unit="%", note=f"published: {published}")
            for what, value, published in rows
        ],
        notes=[_PUBLISHED],
    )


def _share(values: list[float], limit: float) -> float:
    return 100 * sum(value <= limit for value in values) / max(1, len(values))


def _add_frontier(results: Results, apps: list[App]) -> None:
    policies, missing = keep_alive.policies()
    if missing:
        results.not_run.append(missing)
    outcomes = [keep_alive.simulate(policy, apps) for policy in policies]
    usual = next(o for o in outcomes if o.policy.keep_s == keep_alive.USUAL_S)
    for policy in policies:
        if policy.keep_s is None and apps:
            size_mb = usual.wasted_mb_min / apps[0].minutes
            with_zygotes = replace(policy, name=f"{policy.name} and {ZYGOTES}")
            outcomes.append(room.simulate(with_zygotes, apps, size_mb=size_mb))
    results.sheets.append(_frontier_sheet(outcomes, usual))
    results.plots += [
        _frontier_plot(outcomes, usual, "apps' third quartile of cold starts, %"),
        _frontier_plot(outcomes, usual, "cold of all invocations, %"),
    ]


def _frontier_sheet(outcomes: list[Outcome], usual: Outcome) -> Sheet:
    lines = []
    for outcome in outcomes:
        memory = outcome.wasted_mb_min / max(usual.wasted_mb_min, 1e-9)
        note = f"{memory:.0%} of the memory; all: {outcome.cold_percent:.3f} % cold"
        if outcome is usual:
            note += "; published: about 50, from memory"
        is_wanted = outcome.policy.name.endswith(ZYGOTES)
        lines.append(
            Line(
                what=f"{outcome.policy.name}: cold, third quartile of apps",
                value=outcome.third_quartile,
                unit="%",
                must=15 if is_wanted else None,
                aim=5 if is_wanted else None,
                note=note,
            )
        )
    return Sheet(
        title="keep-alive: what is cold, and what the memory for it is",
        lines=lines,
        notes=[_SIMULATED],
    )


def _frontier_plot(outcomes: list[Outcome], usual: Outcome, y: str) -> Plot:
    def point(outcome: Outcome) -> tuple[float, float]:
        memory = 100 * outcome.wasted_mb_min / max(usual.wasted_mb_min, 1e-9)
        is_third = y.startswith("apps")
        return memory, outcome.third_quartile if is_third else outcome.cold_percent

    fixed = [o for o in outcomes if o.policy.keep_s is not None]
    others = [o for o in outcomes if o.policy.keep_s is None]
    curves = [
        Curve(
            name="fixed, 1 to 240 min",
            points=[point(outcome) for outcome in fixed],
            has_dots=True,
        )
    ]
    curves += [Curve(name=o.policy.name, points=[point(o)]) for o in others]
    return Plot(
        title="cold starts against memory, by keep-alive policy",
        x="memory that idles, % of what fixed 10 min needs (logarithmic)",
        y=y,
        curves=curves,
        is_log_x=True,
    )
