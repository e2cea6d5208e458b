"""Ways out of cells: ours, by user-mode networking, beside a prototype of kernel NAT.

Each path has a machine and an internet of its own, in network namespaces (see
`benchmarks/egress_world.py`). The paths take turns, so that what else the machine does
falls on all of them; the notes have each round's numbers. NAT is left out, and it is
said, where there is no `nft`.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.egress_world import (
    MACHINE,
    METADATA,
    PATHS,
    PRIVATE,
    PUBLIC,
    SECOND_OF_MACHINE,
)
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from sandlot_sandbox.launcher import networks, users
from sandlot_sandbox.spec import Layer

WHAT = (
    "a cell's way out: by a relay and slirp4netns, as it is (user-mode), and by a"
    " prototype of NAT through a router's namespace (router) or the machine's (machine)"
)
ROUNDS = 3
MEGABYTES = 64
AT_ONCE = 8
MOST_AT_ONCE = 32
"""Ways out of which memory is measured."""

END_S = 5.0
FEWEST = 4
NAMES = {
    "user-mode": "user-mode",
    "router": "NAT, router",
    "machine": "NAT, machine",
}
_GROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))


class World:
    """A machine with an internet, and one cell that has a way out."""

    def __init__(self, path: str) -> None:
        self._group = _make_group(path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.egress_world", path, self._group],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._hear()
            self.cell: int = self.order("open")
        except BaseException:
            self.close()
            raise

    def order(self, order: str, /, **arguments: Any) -> Any:
        said = {"order": order, **arguments}
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(said) + "\n")
            self._process.stdin.flush()
        return self._hear()

    def ask(self, what: str, /, cell: int | None, **arguments: Any) -> Any:
        return self.order("ask", cell=cell, what=what, arguments=arguments)

    def _hear(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the benchmark's machine has ended")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        deadline = time.monotonic() + END_S
        while self._group and time.monotonic() < deadline:
            # Its children die with it, but a moment later.
            with contextlib.suppress(OSError):
                Path(self._group).rmdir()
                self._group = ""
            time.sleep(0.01)


def _make_group(path: str) -> str:
    """A control group that counts memory, or none. One that was left by a run before
    is used again."""
    for root in _GROUPS:
        group = root / f"sandlot-bench-egress-{path}"
        with contextlib.suppress(OSError):
            group.mkdir(exist_ok=True)
            names = ("memory.usage_in_bytes", "memory.current")
            if any((group / name).exists() for name in names):
                return str(group)
            group.rmdir()
    return ""


async def run(plan: Plan) -> Results:
    """Raises `SystemExit` where there can be no way out, or no namespaces."""
    if os.geteuid() != 0 or not users.can_give_ids() or shutil.which("ip") is None:
        raise SystemExit("this takes root, and ip: install iproute2")
    if trouble := networks.probe_egress():
        raise SystemExit(f"there is no network egress here: {trouble}")
    paths = PATHS if shutil.which("nft") else PATHS[:1]
    if len(paths) == 1:
        plan.console.print("NAT: left out, because there is no nft: install nftables")
    results = Results(
        name="egress",
        what=WHAT,
        mode="root",
        layers=[Layer("egress", "", holds=True, detail="")],
        python=sys.version.split()[0],
    )
    with _worlds(paths) as worlds:
        results.tables += _making(plan, worlds)
        results.tables += _traffic(plan, worlds)
        results.tables[-1].notes += _enduring(plan, worlds)
        results.tables[-1].notes += _tried(worlds)
    return results


@contextlib.contextmanager
def _worlds(paths: tuple[str, ...]) -> Iterator[dict[str, World]]:
    worlds: dict[str, World] = {}
    try:
        for path in paths:
            worlds[path] = World(path)
        yield worlds
    finally:
        for world in worlds.values():
            world.close()


def _making(plan: Plan, worlds: dict[str, World]) -> list[Table]:
    kinds = {
        "ready": "until it can be used",
        "launcher": "the launcher's time",
        "cpu": "CPU of all processes, made and ended",
        "end": "until its device is gone",
    }
    found = {
        kind: {path: Series(label=NAMES[path]) for path in worlds} for kind in kinds
    }
    nat = [path for path in worlds if path != "user-mode"]
    for kind in ("ready", "launcher"):
        for path in nat:
            found[kind][f"{path} pool"] = Series(label=f"{NAMES[path]}, from a pool")
    n = max(FEWEST, plan.n // 100)
    for _ in plan.progress(range(n), "ways out", n):
        for path, world in worlds.items():
            took = world.order("make")
            for kind in kinds:
                found[kind][path].add(took[kind])
            if path in nat:
                world.order("fill_pool")
                took = world.order("make", from_pool=True)
                for kind in ("ready", "launcher"):
                    found[kind][f"{path} pool"].add(took[kind])
    tables = [
        Table(
            title=f"a way out: {title}",
            series=list(found[kind].values()),
            floor=found[kind]["user-mode"],
            floor_name="user-mode",
        )
        for kind, title in kinds.items()
    ]
    tables[0].notes += _memory(plan, worlds)
    return tables


def _memory(plan: Plan, worlds: dict[str, World]) -> Iterator[str]:
    n = max(FEWEST, min(plan.n // 50, MOST_AT_ONCE))
    for path, world in worlds.items():
        used = [world.order("memory", n=n) for _ in range(ROUNDS)]
        each = ", ".join(f"{one['whole']:,.0f}" for one in used)
        apart = "".join(
            f"; {name} {used[-1][name]:,.0f} KB that nobody shares"
            for name in ("relay", "slirp4netns")
            if name in used[-1]
        )
        yield (
            f"memory, {NAMES[path]}: {each} KB for each of {n}, with"
            f" the kernel's, as a control group counts{apart}"
        )


def _traffic(plan: Plan, worlds: dict[str, World]) -> list[Table]:
    few = max(1, plan.n // 300)
    return [
        _in_turns(
            *(plan, worlds, "a byte there and back", "echoes"),
            unit=lambda s: f"{1 / s:,.0f} a second",
            n=plan.n,
        ),
        _in_turns(
            *(plan, worlds, "connect, 64 bytes, their echo, close", "connections"),
            unit=lambda s: f"{1 / s:,.0f} a second",
            n=plan.n // ROUNDS,
        ),
        _in_turns(
            *(
                plan,
                worlds,
                f"the same, {AT_ONCE} at once: each",
                "connections_at_once",
            ),
            unit=lambda s: f"{1 / s:,.0f} a second",
            n=max(AT_ONCE, plan.n),
            at_once=AT_ONCE,
        ),
        _in_turns(
            *(plan, worlds, f"one stream of {MEGABYTES} MB out of the cell", "uploads"),
            unit=lambda s: f"{MEGABYTES / s:,.0f} MB/s",
            n=few,
            megabytes=MEGABYTES,
        ),
        _in_turns(
            *(plan, worlds, f"one stream of {MEGABYTES} MB into it", "downloads"),
            unit=lambda s: f"{MEGABYTES / s:,.0f} MB/s",
            n=few,
            megabytes=MEGABYTES,
        ),
    ]


def _in_turns(
    plan: Plan,
    worlds: dict[str, World],
    title: str,
    what: str,
    *,
    unit: Callable[[float], str],
    **arguments: Any,
) -> Table:
    series = {path: Series(label=NAMES[path]) for path in worlds}
    series["none"] = Series(label="the machine itself")
    means: dict[str, list[float]] = {name: [] for name in series}
    medians: dict[str, list[float]] = {name: [] for name in series}
    for _ in plan.progress(range(ROUNDS), title, ROUNDS):
        for name in series:
            world = worlds.get(name, worlds["user-mode"])
            cell = world.cell if name in worlds else None
            samples = world.ask(what, cell=cell, address=PUBLIC, **arguments)
            if not isinstance(samples, list):
                raise SystemExit(f"{name}: {samples}")
            series[name].samples_s += samples
            means[name].append(statistics.fmean(samples))
            medians[name].append(statistics.median(samples))
    notes = [
        f"{series[name].label}, each round: {', '.join(map(unit, medians[name]))} by"
        f" the median, {', '.join(map(unit, means[name]))} by the mean"
        for name in series
    ]
    notes += [
        f"{series[name].label}: {_times(medians, name)} times as fast as user-mode by"
        f" the rounds' medians, {_times(means, name)} by their means"
        for name in series
        if name != "user-mode"
    ]
    return Table(
        title=title,
        series=list(series.values()),
        floor=series["user-mode"],
        floor_name="user-mode",
        notes=notes,
    )


def _times(rounds: dict[str, list[float]], name: str) -> str:
    pairs = zip(rounds["user-mode"], rounds[name], strict=True)
    ratios = sorted(ours / other for ours, other in pairs)
    return f"{ratios[0]:.1f} to {ratios[-1]:.1f}"


def _enduring(plan: Plan, worlds: dict[str, World]) -> Iterator[str]:
    """In cells of their own: one of them may end of it."""
    for path, world in worlds.items():
        cell = world.order("open")
        got = world.ask("endure", cell=cell, address=PUBLIC, n=plan.n)
        yield (
            f"one connection after the other to a server that closes first,"
            f" {NAMES[path]}: {got:,} of {plan.n:,} before one fails"
        )


def _tried(worlds: dict[str, World]) -> Iterator[str]:
    """What is reached, whatever a socket names; and what others' rules do to NAT."""
    places = {
        "public": PUBLIC,
        "private": PRIVATE,
        "metadata": METADATA,
        "the machine": MACHINE,
        "its second address": SECOND_OF_MACHINE,
    }
    for path, world in worlds.items():
        for device in ("", "eth0"):
            tried = {
                name: world.ask("reach", cell=world.cell, address=to, device=device)
                for name, to in places.items()
            }
            how = " by SO_BINDTODEVICE" if device else ""
            listed = ", ".join(f"{name} {what}" for name, what in tried.items())
            yield f"reached{how}, {NAMES[path]}: {listed}"
    changes = [("forwarding off", "forwarding on")]
    if shutil.which("nft"):
        changes.insert(0, ("add firewall", "remove firewall"))
    for path, world in worlds.items():
        for does, undoes in changes:
            world.order("change", what=does)
            got = world.ask("reach", cell=world.cell, address=PUBLIC)
            world.order("change", what=undoes)
            yield f"with {_NAMED[does]} on the machine, {NAMES[path]}: public {got}"


_NAMED = {
    "add firewall": "a FORWARD chain that drops",
    "forwarding off": "ip_forward = 0",
}
