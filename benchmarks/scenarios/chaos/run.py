"""The scenario: load and kills, then the other disasters, then the books."""

import asyncio
import io
import platform
import random
import shutil
import zipfile
from collections import Counter
from pathlib import Path

from benchmarks.scenarios.chaos import bare, full_disk, power
from benchmarks.scenarios.chaos.books import Ledger, balance
from benchmarks.scenarios.chaos.collector import FUNCTION, Collector
from benchmarks.scenarios.chaos.engine import Engine, new_folder
from benchmarks.scenarios.chaos.load import AT_ONCE, Load
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Table
from sandlot import AsyncClient, errors

RATE, QUICK_RATE = 1_200.0, 400.0
"""Events a second that are sent."""

WANTED_RATE = 1_000.0
"""And that are to be accepted while there is an engine."""

BETWEEN_KILLS_S = (0.5, 2.0)
CLOCK_JUMPS_S = (3_600.0, -7_200.0, 86_400.0, 0.0)
"""How far the engine's calendar is ahead, one after the other."""

CUT_AFTER_S, QUICK_CUT_AFTER_S = (1.0, 4.0), (0.5, 1.0)
"""How long is written before the power is cut."""

DRAIN_S = 600.0
BARE_S, QUICK_BARE_S = 5.0, 0.5
SEED = 20_260_601

WHAT = "from an event's call to its acceptance, on disk"


async def run(plan: Plan) -> Results:
    """Raises `SystemExit` where something was lost, billed wrongly or left behind."""
    rng = random.Random(SEED)  # noqa: S311 - who is killed is no secret
    folder = new_folder()
    try:
        return await _run(plan, folder, rng)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(plan: Plan, folder: Path, rng: random.Random) -> Results:
    notes: list[str] = []
    wrong: list[str] = []
    rate = QUICK_RATE if plan.is_quick else RATE
    engine = Engine(folder / "data", "--event-retry-delays", "0.2,0.4")
    with Collector() as collector:
        await engine.start()
        load = Load(function="chaos", port=collector.port, rate=rate)
        async with engine.client() as client:
            await client.deploy(
                function_zip(), name="chaos", handler="app.handler", network="host"
            )
            mode = (await client.status()).mode
        victims = await _kill(plan, engine, load, rng)
        await _drained(engine)
        await engine.stop()
        ledger = await asyncio.to_thread(Ledger.read, engine.data / "sandlot.db")
        verdict = balance(
            load.accepted,
            ledger,
            collector.runs,
            kills=plan.n,
            dropped=collector.dropped,
        )
        wrong += verdict.wrong + engine.left_behind()
        took = len(load.accepted) / max(load.up_s, 0.001)
        up = f"while there was an engine ({load.up_s:.0f} s)"
        notes += [
            f"killed: {_told(victims)}; the clock jumped {len(CLOCK_JUMPS_S)} times",
            f"accepted {took:,.0f} a second {up}, {WANTED_RATE:,.0f} wanted",
            f"calls without an answer: {_told(load.refused) or 'none'}",
            *verdict.lines(),
        ]
        wrong += await _other_disasters(plan, folder, rng, collector.port, notes)
    alone, bare_rate = await bare.commit_in_groups(
        folder,
        at_once=AT_ONCE,
        seconds=QUICK_BARE_S if plan.is_quick else min(BARE_S, plan.n),
        payload=b"x" * 200,
    )
    notes.append(f"bare group commit, {AT_ONCE} senders: {bare_rate:,.0f} a second")
    if wrong:
        raise SystemExit("\n".join([*notes, "WRONG:", *wrong]))
    python = platform.python_version()
    results = Results(name="chaos", what=WHAT, mode=mode, layers=[], python=python)
    results.tables.append(
        Table(
            title=f"chaos: {plan.n} kills, {len(load.accepted):,} events",
            series=[load.took, alone],
            notes=notes,
        )
    )
    return results


async def _kill(
    plan: Plan, engine: Engine, load: Load, rng: random.Random
) -> Counter[str]:
    """Kill so many, under load."""
    victims: Counter[str] = Counter()
    jumps = iter(CLOCK_JUMPS_S)
    every = max(1, plan.n // len(CLOCK_JUMPS_S))
    async with load.running():
        load.client = await _connected(engine)
        for number in plan.progress(range(plan.n), "kills", plan.n):
            await asyncio.sleep(rng.uniform(*BETWEEN_KILLS_S))
            if number % every == 0 and (ahead_s := next(jumps, None)) is not None:
                engine.clock.write_text(str(ahead_s))
            victim = engine.kill(rng)
            victims[victim] += 1
            if victim == "engine":
                await _restart(engine, load)
        await asyncio.sleep(BETWEEN_KILLS_S[1])
    if load.client is not None:
        await load.client.__aexit__(None, None, None)
    return victims


async def _restart(engine: Engine, load: Load) -> None:
    before, load.client = load.client, None
    await engine.wait_end()
    if before is not None:
        await before.__aexit__(None, None, None)
    await engine.start()
    load.client = await _connected(engine)


async def _connected(engine: Engine) -> AsyncClient:
    client = engine.client()
    return await client.__aenter__()


async def _drained(engine: Engine) -> None:
    """Until nothing waits or runs."""
    async with engine.client() as client, asyncio.timeout(DRAIN_S):
        states = ("queued", "running", "delivering")
        while True:
            try:
                if await anext(aiter(client.events(states=states)), None) is None:
                    return
            except errors.Unavailable:
                pass
            await asyncio.sleep(0.5)


async def _other_disasters(
    plan: Plan, folder: Path, rng: random.Random, port: int, notes: list[str]
) -> list[str]:
    """A full disk and power cuts; what is wrong."""
    if not power.is_possible():
        notes.append(
            "power cut and full disk: not tried, they take root and loop devices"
        )
        return []
    wrong = []
    fill = await full_disk.fill_disk(folder, function_zip(), port=port)
    notes.append(
        f"full disk: {fill.accepted} accepted, then refused"
        f" ({', '.join(sorted(fill.refusals))}), {fill.lost} lost"
    )
    if fill.lost or fill.refusals != {"Unavailable"}:
        wrong.append(f"full disk: {fill}")
    after_s = QUICK_CUT_AFTER_S if plan.is_quick else CUT_AFTER_S
    cuts = [
        await power.cut_power(folder, after_s=rng.uniform(*after_s))
        for _ in range(max(1, plan.n // 10))
    ]
    without = await power.cut_power(folder, after_s=after_s[0], has_fsync=False)
    notes.append(
        f"power cuts: {len(cuts)}, {sum(cut.accepted for cut in cuts):,} accepted,"
        f" {sum(cut.lost for cut in cuts)} lost; without fsync"
        f" {without.lost:,} of {without.accepted:,} lost, as they should be"
    )
    wrong += [f"power cut: {cut}" for cut in cuts if cut.lost or not cut.is_whole]
    if not without.lost:
        wrong.append("without fsync nothing was lost: the cut proves nothing")
    return wrong


def function_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("app.py", FUNCTION)
    return file.getvalue()


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
