"""A tenant that asks for a hundred times its share, and one that does not, on a machine
with a clock of its own: who waits, and for how long."""

import heapq
import random
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
    StartAhead,
)

INSTANCES = 64
OTHERS_SHARE = 16
START_S = 0.002
SHARE = 8
"""Invocations that the modest tenant has running at once."""


@dataclass
class World:
    """Runs what the state decides; starts and runs take a fixed time."""

    run_s: float
    now: float = 0.0
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _events: list[tuple[float, int, str, int, str]] = field(default_factory=list)
    _arrived: dict[str, float] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self.state = ClusterState(
            max_instances=INSTANCES,
            max_of_tenant=INSTANCES - INSTANCES // OTHERS_SHARE,
            max_starting=8,
            max_starting_of_tenant=4,
            max_kept=0,
        )

    def _later(self, after_s: float, what: str, number: int, name: str) -> None:
        self._count += 1
        heapq.heappush(
            self._events, (self.now + after_s, self._count, what, number, name)
        )

    def arrive(self, at: float, tenant: str) -> None:
        self._count += 1
        name = f"{tenant} {self._count}"
        heapq.heappush(self._events, (at, self._count, "arrives", 0, name))

    def run(self) -> None:
        """Until nothing is left to do."""
        while self._events:
            self.now, _, what, number, name = heapq.heappop(self._events)
            tenant = name.split()[0]
            if what == "arrives":
                self._arrived[name] = self.now
                self._act(self.state.invocation_arrived(name, tenant, tenant=tenant))
            elif what == "started":
                self._act(self.state.start_ended(tenant, number))
                self._serve(name, number)
            else:
                self._act(self.state.instance_freed(number))
        self.state.check()
        assert self.state.waiting == 0

    def _act(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Assign(invocation=name, instance=number):
                    self._serve(name, number)
                case Start(invocation=name):
                    self._count += 1
                    self._later(START_S, "started", self._count, name)
                case StartAhead() | Retire():
                    pass

    def _serve(self, name: str, number: int) -> None:
        self.waits[name.split()[0]].append(self.now - self._arrived.pop(name))
        self._later(self.run_s, "freed", number, name)


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


def _modest(world: World, *, until: float) -> None:
    chance = random.Random(1)  # noqa: S311 - the same arrivals in every run
    at = 0.0
    while (at := at + chance.expovariate(SHARE / world.run_s)) < until:
        world.arrive(at, "modest")


def _greedy(world: World, *, until: float) -> None:
    """A hundred times as often."""
    chance = random.Random(2)  # noqa: S311
    at = 0.0
    while (at := at + chance.expovariate(100 * SHARE / world.run_s)) < until:
        world.arrive(at, "greedy")


def test_a_tenant_with_a_hundred_times_its_share_delays_others_by_little() -> None:
    alone, beside = World(run_s=0.05), World(run_s=0.05)
    for world in (alone, beside):
        _modest(world, until=5.0)
    _greedy(beside, until=5.0)

    alone.run()
    beside.run()

    # A start more than alone, and in the worst case what runs just now.
    assert _p99(beside.waits["modest"]) <= _p99(alone.waits["modest"]) + 0.05
    assert _median(beside.waits["modest"]) <= 2 * START_S
    assert _median(beside.waits["greedy"]) > 1.0, "it was not greedy at all"


def test_nor_do_its_long_invocations_keep_others_waiting() -> None:
    world = World(run_s=900.0)
    for number in range(10 * INSTANCES):
        world.arrive(number / 1_000, "greedy")
    world.arrive(100.0, "modest")
    world.arrive(100.1, "modest")

    world.run()

    assert max(world.waits["modest"]) <= 2 * START_S


@pytest.mark.parametrize("first", ["greedy", "modest"])
def test_two_who_want_everything_have_half_of_it_each(first: str) -> None:
    second = {"greedy": "modest", "modest": "greedy"}[first]
    world = World(run_s=1.0)
    for number in range(20 * INSTANCES):
        world.arrive(number / 10_000, first)
        world.arrive(2.0 + number / 10_000, second)

    ran = _served_between(world, 10.0, 20.0)

    assert 0.8 <= ran[first] / ran[second] <= 1.25


def _median(waits: list[float]) -> float:
    return sorted(waits)[len(waits) // 2]


def _served_between(world: World, begin: float, end: float) -> dict[str, int]:
    """How many of each began to run then."""
    served: dict[str, int] = defaultdict(int)
    serve = world._serve  # noqa: SLF001 - to look

    def counted(name: str, number: int) -> None:
        if begin <= world.now < end:
            served[name.split()[0]] += 1
        serve(name, number)

    world._serve = counted  # type: ignore[method-assign]  # noqa: SLF001
    world.run()
    return served
