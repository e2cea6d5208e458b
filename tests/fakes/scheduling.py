"""A scheduler with a machine whose instances start and answer when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from sandlot_engine.errors import Unavailable
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, Run
from sandlot_engine.scheduler import bounds
from sandlot_engine.scheduler.provisions import PROVISION_AGAIN_S
from sandlot_engine.scheduler.scaling import SCALING
from sandlot_engine.scheduler.scheduler import Scheduler
from tests.fakes.runner import FakeClock
from tests.fakes.things import function
from tests.fakes.waiting import eventually

WAIT_S = 5.0


class FakeInstance:
    """Answers when the test says so."""

    def __init__(self, machine: "FakeMachine", on_death: Callable[[], None]) -> None:
        self.is_usable = True
        self.is_settling = False
        self.has_settled = asyncio.Event()
        self.is_stopped = False
        self.ended_unnoticed = False
        self.idle_since = 0.0
        self.runs = 0
        self.memory_mb = 0.0
        self.was_standby = False
        self.init_limit_s = 0.0
        self._machine = machine
        self._on_death = on_death

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        wait_s: float,
        init_counts: bool = False,
        is_standby: bool = False,
    ) -> Run:
        self.is_usable = False
        self.runs += 1
        self.was_standby = is_standby
        if self.ended_unnoticed:
            raise Unavailable("the instance ended while it was idle")
        self._machine.running.put_nowait(self)
        outcome = await self._machine.outcome(init_counts)
        if isinstance(outcome, Exception):
            raise outcome
        self.is_usable = outcome.ended in (Ended.ANSWERED, Ended.FAILED)
        if outcome.rest is not None:
            self.is_usable, self.is_settling = False, True
        self.idle_since = self._machine.clock.monotonic()
        return outcome

    async def wait_settled(self) -> bool:
        await self.has_settled.wait()
        self.is_usable = not self.is_stopped
        return self.is_usable

    async def wait_ready(self, limit_s: float) -> bool:
        self.is_usable = False
        self.init_limit_s = limit_s
        await self._machine.may_initialise.wait()
        self.is_usable = self._machine.initialises and not self.is_stopped
        return self.is_usable

    def stop(self) -> None:
        self.is_stopped = True
        self.is_usable = False

    def die(self) -> None:
        """By itself, as an idle process may at any time."""
        self.is_usable = False
        self._on_death()


class FakeMachine:
    """Starts instances when the test says so."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.instances: list[FakeInstance] = []
        self.running: asyncio.Queue[FakeInstance] = asyncio.Queue()
        self.starting: asyncio.Queue[str] = asyncio.Queue()
        self.has_dropped = self.has_cells = self.is_reset = False
        self.kept: list[bool] = []
        """Of those that were asked for, whether they were of what is provisioned."""

        self.may_start = asyncio.Event()
        self.may_start.set()
        self.may_initialise = asyncio.Event()
        self.may_initialise.set()
        self.initialises = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.refusal: Exception | None = None
        self.import_refusal: Exception | None = None
        self.run_refusal: Exception | None = None
        self.importing: dict[str, asyncio.Event] = {}
        self.lost_zygotes = 0
        self.missing_mb = 0.0
        self.shed_mb = 0.0
        self.away: frozenset[str] = frozenset()
        self.endings: list[Run | Exception] = []

    def check(self, _: Function) -> None:
        if self.run_refusal is not None:
            raise self.run_refusal

    def is_ready(self, function: Function, revision: Revision) -> bool:
        return function.name not in self.importing

    def short_mb(self) -> float:
        return self.missing_mb

    def drop_kept(self) -> bool:
        self.has_dropped, had = True, self.has_cells
        self.has_cells = False
        return had

    def has_reset(self, *_: object) -> bool:
        return self.is_reset

    def shed(self, short_mb: float) -> None:
        self.shed_mb = short_mb

    def note_away(self, revisions: frozenset[str]) -> None:
        self.away = revisions

    async def make_ready(
        self, function: Function, revision: Revision, *, is_awaited: bool = False
    ) -> None:
        if self.import_refusal is not None:
            raise self.import_refusal
        await self.importing[function.name].wait()
        del self.importing[function.name]

    async def start(
        self,
        function: Function,
        revision: Revision,
        *,
        on_death: Callable[[], None],
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> FakeInstance | None:
        self.starting.put_nowait(function.name)
        self.kept.append(is_kept)
        await self.may_start.wait()
        if self.refusal is not None:
            raise self.refusal
        if self.lost_zygotes:
            self.lost_zygotes -= 1
            return None
        instance = FakeInstance(self, on_death)
        self.instances.append(instance)
        return instance

    async def outcome(self, init_counts: bool) -> Run | Exception:
        await self.may_answer.wait()
        return self.endings.pop(0) if self.endings else ended_run(Ended.ANSWERED)


def ended_run(ended: Ended) -> Run:
    return Run(ended=ended, duration_s=0.001, wait_s=0.0, max_memory_mb=1)


class World:
    """A scheduler with two places, of which one may be starting at once."""

    def __init__(self, scheduler: Scheduler, machine: FakeMachine) -> None:
        self.scheduler = scheduler
        self.machine = machine
        self.clock = machine.clock
        self.cuts: list[float] = []
        """Seconds on an instance of those whose caller went away."""

        self._count = 0

    def invoke(
        self, name: str = "resize", *, isolation_key: str = ""
    ) -> asyncio.Task[Run]:
        self._count += 1
        invocation = Invocation(
            request_id=f"r-{self._count}",
            tenant_id="1",
            function=name,
            isolation_key=isolation_key,
            payload=b"{}",
            arrived=self.clock.monotonic(),
        )
        return asyncio.get_running_loop().create_task(
            self.scheduler.run(named(name), invocation, note_cut=self.cuts.append)
        )

    async def busy(self, count: int) -> list[asyncio.Task[Run]]:
        """So many invocations, each in an instance of its own, which answer once
        `machine.may_answer` is set."""
        self.machine.may_answer.clear()
        running = [self.invoke() for _ in range(count)]
        for _ in running:
            await self.wait_running()
        return running

    async def provision(self, count: int, name: str = "resize") -> int:
        function = named(name)
        assert function.serving is not None
        return await self.scheduler.provision(function, function.serving, count)

    async def wait_running(self) -> FakeInstance:
        async with asyncio.timeout(WAIT_S):
            return await self.machine.running.get()

    async def wait_starting(self) -> str:
        async with asyncio.timeout(WAIT_S):
            return await self.machine.starting.get()

    async def wait_assigned(self) -> None:
        """Until the one that waits has been given an instance, and before it knows."""
        turns = self.scheduler._turns._turns  # noqa: SLF001 - only seen there
        (turn,) = turns.values()
        async with asyncio.timeout(WAIT_S):
            while not turn.done():  # noqa: ASYNC110 - an event would come a turn late
                await asyncio.sleep(0)

    def check_nothing_is_taken(self) -> None:
        """All that is left is idle, and both places can be had again."""
        state = self.scheduler._state  # noqa: SLF001 - what the shell must keep sound
        state.check()
        assert state.waiting == 0
        assert "0 busy, 0 starting, 0 waiting" in repr(state)
        assert not self.scheduler._turns  # noqa: SLF001
        assert not self.scheduler._using  # noqa: SLF001


def named(name: str) -> Function:
    from tests.fakes.things import revision

    return function(name, serving=replace(revision(), id=f"rev-of-{name}"))


@asynccontextmanager
async def new_world(
    *,
    place_s: float = bounds.PLACE_S,
    max_kept: int | None = 2,
    again_s: float = PROVISION_AGAIN_S,
    max_instances: int = 2,
    max_standbys: int = 0,
    scaling: int = SCALING,
) -> AsyncIterator[World]:
    clock = FakeClock()
    machine = FakeMachine(clock)
    async with Scheduler.running(
        machine,
        clock=clock,
        max_instances=max_instances,
        max_standbys=max_standbys,
        scaling=scaling,
        max_starting=1,
        max_starting_of_tenant=1,
        max_kept=max_kept,
        place_s=place_s,
        again_s=again_s,
        check=machine.check,
    ) as scheduler:
        made = World(scheduler, machine)
        yield made
        made.check_nothing_is_taken()


async def wait_standbys(world: World, count: int) -> None:
    async def is_so() -> bool:
        return world.scheduler.standbys.there == count

    await eventually(is_so)
