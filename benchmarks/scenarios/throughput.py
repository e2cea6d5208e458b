"""Warm invocations end to end, as many as there can be: over HTTP with signatures, and
over gRPC, with workers and without, beside a bare echo on the same server stack.

Everything runs at the same time on the same cores: client, servers, jails. So what is
compared is processor time for a request, which other load on the machine changes less
than the rate; and the rate, which says what comes of it. All of a kind are up at once,
and loaded in turns.
"""

import asyncio
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.jails import open_jails
from benchmarks.load.servers import Server, echo, engine
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from benchmarks.workloads import Workload

CONNECTIONS = 8
WORKERS = (0, 2)
"""1 is as 0: see `sandlot up --help`."""

ROUNDS = 4
PHASE_S = 20.0
"""How long one phase may take, on a machine that has other things to do."""

WARM_UP_S = 1.0

WANTED = {"http": 50, "grpc": 70}
"""Percent of the bare echo."""

WHAT = (
    f"warm invocations over {CONNECTIONS} connections, one at a time on each; isolated"
    " instances; the client runs on the same cores"
)

_ROOT = Path(__file__).parents[2]
_SERVERS = ("echo", "engine", "workers")


@dataclass(slots=True)
class _Loaded:
    """One server, over all its phases."""

    label: str
    server: Server
    series: Series
    seconds: float = 0.0
    cpu_ns: Counter[str] = field(default_factory=Counter)
    others_s: float = 0.0
    """Of processes that are none of ours."""

    rates: list[float] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)
    """Of the server's processes for a request, by phase."""

    @property
    def answers(self) -> int:
        return max(1, len(self.series.samples_s))

    @property
    def rate(self) -> float:
        return max(self.rates)

    @property
    def server_us(self) -> float:
        """Of the phase with the least: what others cost it is not its own.

        Not a number where all were so short that the kernel had counted nothing.
        """
        return min(filter(None, self.costs_us), default=math.nan)

    def note(self, phase: dict[str, Any], used: Counter[str], others_s: float) -> None:
        answers = len(phase["latencies_s"])
        if phase["failures"] or not answers:
            raise RuntimeError(f"{self.label}: {phase['first_failure']}")
        self.series.samples_s += phase["latencies_s"]
        self.seconds += phase["seconds"]
        self.cpu_ns += used
        self.cpu_ns["client"] += round(phase["cpu_s"] * 1e9)
        self.others_s += others_s
        self.rates.append(answers / phase["seconds"])
        self.costs_us.append(sum(used[part] for part in _SERVERS) / answers / 1e3)

    def row(self, floor: "_Loaded") -> str:
        parts = ", ".join(
            f"{part} {spent / self.answers / 1e3:.0f}"
            for part, spent in self.cpu_ns.most_common()
            if spent / self.answers > 500
        )
        return (
            f"{self.label}: {self.rate:,.0f} requests/s in its best phase,"
            f" {self.rate / floor.rate:.0%} of the echo's;"
            f" {self.server_us:.0f} µs of the server's processes for a request, of"
            f" which the echo's {floor.server_us:.0f} are"
            f" {floor.server_us / self.server_us:.0%}; µs over all phases: {parts};"
            f" others' share of the machine {self.others_s / self._machine_s:.0%}"
        )

    @property
    def _machine_s(self) -> float:
        return self.seconds * len(os.sched_getaffinity(0))


async def run(plan: Plan) -> Results:
    async with open_jails(plan.runtime) as jails:
        results = Results.of(jails, name="throughput", what=WHAT)
    workload = next(iter(plan.present()))
    for kind in ("http", "grpc"):
        with _all_up(kind, workload) as loaded:
            label = f"throughput {kind}"
            for _ in plan.progress(range(ROUNDS), label, ROUNDS):
                for each in loaded:
                    await _load(each, plan.n)
            results.tables.append(_table(kind, loaded))
    return results


def _table(kind: str, loaded: list[_Loaded]) -> Table:
    floor = loaded[0]
    return Table(
        title=f"{kind}: answers, and what they cost",
        series=[each.series for each in loaded],
        floor=floor.series,
        floor_name="echo",
        notes=[
            *(each.row(floor) for each in loaded),
            f"wanted: {WANTED[kind]} % of the echo's requests/s",
        ],
    )


@contextmanager
def _all_up(kind: str, workload: Workload) -> Iterator[list[_Loaded]]:
    with ExitStack() as stack:
        enter = stack.enter_context
        found = [("bare echo, one process", enter(echo(kind, workload)))]
        for workers in WORKERS:
            http, grpc = enter(engine(workers, workload))
            label = f"sandlot, {workers} workers" if workers else "sandlot, one process"
            found.append((label, http if kind == "http" else grpc))
        yield [_Loaded(label, one, Series(label=label)) for label, one in found]


async def _load(loaded: _Loaded, answers: int) -> None:
    """One phase."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        cwd=_ROOT,
    )
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(
        json.dumps(
            {
                **loaded.server.request,
                "connections": CONNECTIONS,
                "warm_up_s": WARM_UP_S,
                "answers": answers,
                "seconds": PHASE_S,
            }
        ).encode()
    )
    process.stdin.close()
    await _hear(process.stdout, b"counting")
    before, busy_before = loaded.server.cpu_ns(), _busy_s()
    await _hear(process.stdout, b"counted")
    used, busy_s = loaded.server.cpu_ns(), _busy_s() - busy_before
    used.subtract(before)
    phase = json.loads(await process.stdout.read())
    await process.wait()
    ours_s = used.total() / 1e9 + phase["cpu_s"]
    loaded.note(phase, used, max(0.0, busy_s - ours_s))


async def _hear(stdout: asyncio.StreamReader, word: bytes) -> None:
    if (said := (await stdout.readline()).strip()) != word:
        raise RuntimeError(f"the load said {said!r} and not {word!r}")


def _busy_s() -> float:
    """Of all processors since the machine's start."""
    user, nice, system, _, _, *rest = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + sum(rest[:2])) / os.sysconf("SC_CLK_TCK")
