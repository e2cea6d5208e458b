"""Lending instances: whatever happens to an invocation, what it took comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
from msgspec import structs

from sandlot_engine.errors import Throttled, Unavailable
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, Run
from sandlot_engine.scheduler import scheduler as module
from sandlot_engine.scheduler.scaling import SCALING, SCALING_S
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.scheduler.upkeep import LEAST_MB
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
        self.has_dropped = self.is_reset = False
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
        self.importing: dict[str, asyncio.Event] = {}
        self.lost_zygotes = 0
        self.missing_mb = 0.0
        self.shed_mb = 0.0
        self.endings: list[Run | Exception] = []

    def is_ready(self, function: Function, revision: Revision) -> bool:
        return function.name not in self.importing

    def short_mb(self) -> float:
        return self.missing_mb

    def drop_kept(self) -> None:
        self.has_dropped = True

    def has_reset(self, *_: object) -> bool:
        return self.is_reset

    def shed(self, short_mb: float) -> None:
        self.shed_mb = short_mb

    async def make_ready(self, function: Function, revision: Revision) -> None:
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
        return self.endings.pop(0) if self.endings else _run(Ended.ANSWERED)


def _run(ended: Ended) -> Run:
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
            self.scheduler.run(_function(name), invocation, note_cut=self.cuts.append)
        )

    async def provision(self, count: int, name: str = "resize") -> int:
        function = _function(name)
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
        ((_, turn),) = self.scheduler._turns.items()  # noqa: SLF001 - only seen there
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
        assert not self.scheduler._running  # noqa: SLF001


def _function(name: str) -> Function:
    from tests.fakes.things import revision

    return function(name, serving=replace(revision(), id=f"rev-of-{name}"))


@asynccontextmanager
async def _world(
    *,
    place_s: float = module.PLACE_S,
    max_kept: int | None = 2,
    again_s: float = module.PROVISION_AGAIN_S,
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
    ) as scheduler:
        made = World(scheduler, machine)
        yield made
        made.check_nothing_is_taken()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with _world() as made:
        yield made


@pytest_asyncio.fixture
async def impatient() -> AsyncIterator[World]:
    """The same, but nobody waits for a place."""
    async with _world(place_s=0.01) as made:
        yield made


async def test_an_instance_is_used_again(world: World) -> None:
    await world.invoke()
    await world.invoke()

    assert [instance.runs for instance in world.machine.instances] == [2]


async def test_an_instance_is_never_shared_between_isolation_keys(
    world: World,
) -> None:
    for key in ("ann", "bob", "ann"):
        await world.invoke(isolation_key=key)

    assert [instance.runs for instance in world.machine.instances] == [2, 1]

    await world.invoke(isolation_key="")

    # There are two places: one of the others had to go, and was not lent.
    assert [instance.runs for instance in world.machine.instances] == [2, 1, 1]


async def test_an_invocation_waits_rather_than_share(world: World) -> None:
    world.machine.may_answer.clear()
    running = [world.invoke(isolation_key=key) for key in ("ann", "ann", "bob")]
    first, second = await world.wait_running(), await world.wait_running()

    world.machine.may_answer.set()
    await asyncio.gather(*running)

    assert (first.runs, second.runs) == (1, 1)
    assert len(world.machine.instances) == 3


async def test_draining_retires_instances_of_every_isolation_key(world: World) -> None:
    for key in ("ann", "bob"):
        await world.invoke(isolation_key=key)

    await world.scheduler.drain("rev-of-resize")

    assert all(instance.is_stopped for instance in world.machine.instances)
    assert world.scheduler.instances == 0


async def test_a_busy_instance_means_another_one_is_started(world: World) -> None:
    world.machine.may_answer.clear()
    both = [world.invoke(), world.invoke()]
    await world.wait_running()
    await world.wait_running()
    world.machine.may_answer.set()
    await asyncio.gather(*both)

    assert len(world.machine.instances) == 2


async def test_beyond_the_last_place_an_invocation_waits(world: World) -> None:
    world.machine.may_answer.clear()
    three = [world.invoke() for _ in range(3)]
    await world.wait_running()
    await world.wait_running()

    world.machine.may_answer.set()
    await asyncio.gather(*three)

    assert len(world.machine.instances) == 2


@pytest.mark.parametrize(
    "ended", [Ended.TIMED_OUT, Ended.EXITED, Ended.VIOLATION, Ended.TOO_LARGE]
)
async def test_an_instance_that_did_not_answer_is_not_used_again(
    world: World, ended: Ended
) -> None:
    world.machine.endings = [_run(ended)]

    assert (await world.invoke()).ended is ended
    await world.invoke()

    assert [instance.is_stopped for instance in world.machine.instances] == [
        True,
        False,
    ]


async def test_an_init_that_took_too_long_is_tried_again(world: World) -> None:
    late = structs.replace(_run(Ended.INIT_TIMED_OUT), init_s=10.0)
    world.machine.endings = [late]

    run = await world.invoke()

    assert (run.ended, run.late_init_s) == (Ended.ANSWERED, 10.0)
    assert [instance.runs for instance in world.machine.instances] == [1, 1]


async def test_a_restore_that_took_too_long_is_not_tried_again(world: World) -> None:
    world.machine.endings = [
        structs.replace(_run(Ended.INIT_TIMED_OUT), is_restore=True)
    ]

    assert (await world.invoke()).ended is Ended.INIT_TIMED_OUT
    assert [instance.runs for instance in world.machine.instances] == [1]


async def test_a_start_that_failed_is_told_and_its_place_given_back(
    world: World,
) -> None:
    world.machine.refusal = Unavailable("no")
    with pytest.raises(Unavailable):
        await world.invoke()

    world.machine.refusal = None
    assert (await world.invoke()).ended is Ended.ANSWERED


async def test_a_slow_import_does_not_keep_others_from_starting(world: World) -> None:
    world.machine.importing["slow"] = asyncio.Event()
    slow = world.invoke("slow")
    await asyncio.sleep(0)

    assert (await world.invoke("quick")).ended is Ended.ANSWERED
    world.machine.importing["slow"].set()
    assert (await slow).ended is Ended.ANSWERED


async def test_a_zygote_lost_during_a_start_is_replaced_once(world: World) -> None:
    world.machine.lost_zygotes = 1

    assert (await world.invoke()).ended is Ended.ANSWERED


async def test_a_zygote_that_is_always_lost_is_told(world: World) -> None:
    world.machine.lost_zygotes = 9

    with pytest.raises(Unavailable, match="ended 2 times"):
        await world.invoke()
    world.machine.lost_zygotes = 0


async def test_cancelled_while_its_instance_starts(world: World) -> None:
    world.machine.may_start.clear()
    first, second = world.invoke(), world.invoke()
    await world.wait_starting()

    first.cancel()
    await asyncio.wait([first])
    assert await world.wait_starting() == "resize", "the place went to the next"
    world.machine.may_start.set()

    assert (await second).ended is Ended.ANSWERED


async def test_cancelled_while_it_waits_for_a_place(world: World) -> None:
    world.machine.may_answer.clear()
    running = [world.invoke(), world.invoke()]
    await world.wait_running()
    await world.wait_running()
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.clock.advance(9)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert world.cuts == [], "it had no instance"
    world.machine.may_answer.set()
    await asyncio.gather(*running)


async def test_who_finds_no_instance_free_in_time_is_refused(impatient: World) -> None:
    impatient.machine.may_answer.clear()
    running = [impatient.invoke(), impatient.invoke()]
    await impatient.wait_running()
    await impatient.wait_running()

    with pytest.raises(Throttled, match="2 instances at most") as caught:
        await impatient.invoke()

    assert caught.value.retry_after_s > 0
    impatient.machine.may_answer.set()
    await asyncio.gather(*running)


async def test_who_finds_no_place_to_start_in_time_is_refused(impatient: World) -> None:
    impatient.machine.may_start.clear()
    hanging = impatient.invoke()
    await impatient.wait_starting()

    with pytest.raises(Throttled, match="starts 1 at once"):
        await impatient.invoke("parse")

    impatient.machine.may_start.set()
    assert (await hanging).ended is Ended.ANSWERED


async def test_a_run_may_take_longer_than_the_wait_for_a_place(
    impatient: World,
) -> None:
    impatient.machine.may_start.clear()
    slow = impatient.invoke()
    await impatient.wait_starting()
    with pytest.raises(Throttled):
        await impatient.invoke()

    impatient.machine.may_start.set()

    assert (await slow).ended is Ended.ANSWERED


async def test_cancelled_while_it_runs(world: World) -> None:
    world.machine.may_answer.clear()
    running = world.invoke()
    instance = await world.wait_running()
    world.clock.advance(0.25)

    running.cancel()
    await asyncio.wait([running])

    assert instance.is_stopped
    assert world.cuts == [0.25]


async def test_cancelled_in_the_moment_in_which_an_instance_is_freed(
    world: World,
) -> None:
    # The turn is cancelled at once, its task runs later: the freed instance must not
    # be given to it, nor the one that freed it be told of that.
    world.machine.may_answer.clear()
    running = [world.invoke(), world.invoke()]
    await world.wait_running()
    await world.wait_running()
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.machine.may_answer.set()
    waiting.cancel()

    assert [run.ended for run in await asyncio.gather(*running)] == [Ended.ANSWERED] * 2
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancelled_in_the_moment_in_which_a_place_is_freed(world: World) -> None:
    world.machine.may_start.clear()
    starting = world.invoke()
    await world.wait_starting()
    waiting = world.invoke("parse")
    await asyncio.sleep(0)

    world.machine.may_start.set()
    waiting.cancel()

    assert (await starting).ended is Ended.ANSWERED
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancelled_after_it_was_given_an_instance_and_before_it_knew(
    world: World,
) -> None:
    world.machine.may_answer.clear()
    running = [world.invoke(), world.invoke()]
    await world.wait_running()
    await world.wait_running()
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.machine.may_answer.set()
    await world.wait_assigned()
    waiting.cancel()
    await asyncio.wait([waiting])

    await asyncio.gather(*running)


@pytest.mark.parametrize("has_been_told", [True, False])
async def test_an_idle_instance_that_died_is_not_given_to_anyone(
    world: World, has_been_told: bool
) -> None:
    await world.invoke()
    (instance,) = world.machine.instances
    if has_been_told:
        instance.die()
    else:
        instance.is_usable = False

    assert (await world.invoke()).ended is Ended.ANSWERED
    assert [i.runs for i in world.machine.instances] == [1, 1]


async def test_an_instance_that_dies_between_assignment_and_use_is_replaced(
    world: World,
) -> None:
    world.machine.may_answer.clear()
    running = [world.invoke(), world.invoke()]
    first = await world.wait_running()
    await world.wait_running()
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.machine.may_answer.set()
    await world.wait_assigned()
    for instance in (first, *world.machine.instances):
        instance.die()

    assert (await waiting).ended is Ended.ANSWERED
    await asyncio.gather(*running)


async def test_an_idle_instance_that_ended_unnoticed_is_no_caller_s_loss(
    world: World,
) -> None:
    await world.invoke()
    (instance,) = world.machine.instances
    instance.ended_unnoticed = True

    assert (await world.invoke()).ended is Ended.ANSWERED
    assert instance.is_stopped
    assert [i.runs for i in world.machine.instances] == [2, 1]


async def test_a_new_instance_that_could_not_start_is_told(world: World) -> None:
    world.machine.endings = [Unavailable("no clone")]

    with pytest.raises(Unavailable, match="no clone"):
        await world.invoke()

    assert [i.runs for i in world.machine.instances] == [1]


async def test_the_idle_are_retired_after_their_time(world: World) -> None:
    await world.invoke()
    (instance,) = world.machine.instances
    since = world.clock.monotonic()
    world.clock.advance(1)

    assert world.scheduler.retire_idle(since=since - 1) == 0
    assert world.scheduler.retire_idle(since=since) == 1
    assert instance.is_stopped
    assert world.scheduler.instances == 0


async def test_draining_waits_for_the_busy_and_retires_all(world: World) -> None:
    world.machine.may_answer.clear()
    running = world.invoke()
    instance = await world.wait_running()
    draining = asyncio.get_running_loop().create_task(
        world.scheduler.drain("rev-of-resize")
    )
    await asyncio.sleep(0)
    assert not draining.done()

    world.machine.may_answer.set()
    await draining

    assert (await running).ended is Ended.ANSWERED
    assert instance.is_stopped
    assert world.scheduler.instances == 0


async def test_draining_waits_for_an_init_that_is_tried_again(world: World) -> None:
    world.machine.may_answer.clear()
    world.machine.endings = [_run(Ended.INIT_TIMED_OUT)]
    running = world.invoke()
    await world.wait_starting()
    await world.wait_running()
    draining = asyncio.get_running_loop().create_task(
        world.scheduler.drain("rev-of-resize")
    )
    world.machine.may_start.clear()
    world.machine.may_answer.set()
    await world.wait_starting()
    await asyncio.sleep(0)

    assert not draining.done(), "the version would be retired while it is in use"
    world.machine.may_start.set()
    assert (await running).ended is Ended.ANSWERED
    await draining


async def test_a_full_machine_retires_an_idle_instance_of_another(
    world: World,
) -> None:
    await asyncio.gather(world.invoke(), world.invoke())
    await world.invoke("parse")

    assert [i.is_stopped for i in world.machine.instances].count(True) <= 1
    assert world.scheduler.instances <= 2


def test_the_limits_of_a_machine_have_names() -> None:
    assert module.MAX_STARTING_OF_TENANT < module.MAX_STARTING < module.MAX_INSTANCES


# --- started ahead --------------------------------------------------------------------


async def test_what_is_provisioned_is_started_before_anybody_calls(
    world: World,
) -> None:
    assert await world.provision(2) == 2
    assert [instance.runs for instance in world.machine.instances] == [0, 0]

    await world.invoke()

    assert len(world.machine.instances) == 2
    assert sum(instance.runs for instance in world.machine.instances) == 1


async def test_only_what_is_provisioned_is_told_so(world: World) -> None:
    world.machine.may_answer.clear()
    await world.provision(1)
    first = world.invoke()
    await world.wait_running()
    second = world.invoke()
    await world.wait_running()
    world.machine.may_answer.set()
    await asyncio.gather(first, second)

    assert world.machine.kept == [True, False]


async def test_what_is_provisioned_is_there_once_it_is_initialised(
    world: World,
) -> None:
    world.machine.may_initialise.clear()
    provisioning = asyncio.create_task(world.provision(1))
    await world.wait_starting()

    assert (await world.invoke()).ended is Ended.ANSWERED
    assert [instance.runs for instance in world.machine.instances] == [0, 1]
    world.machine.instances[1].die()
    assert world.scheduler.provisioned("rev-of-resize") == 0
    assert not provisioning.done()
    world.machine.may_initialise.set()

    assert await provisioning == 1
    assert world.scheduler.provisioned("rev-of-resize") == 1


@pytest.mark.parametrize(("timeout_s", "limit_s"), [(3, 130.0), (900, 900.0)])
async def test_what_is_provisioned_has_time_for_its_init(
    world: World, timeout_s: int, limit_s: float
) -> None:
    function = _function("resize")
    assert function.serving is not None
    config = replace(function.serving.config, timeout_s=timeout_s)
    revision = replace(function.serving, config=config)

    await world.scheduler.provision(function, revision, 1)

    assert [each.init_limit_s for each in world.machine.instances] == [limit_s]


async def test_what_cannot_be_initialised_is_told_and_tried_again() -> None:
    async with _world(again_s=0.0) as world:
        world.machine.initialises = False

        assert await world.provision(1) == 0
        assert world.machine.instances[0].is_stopped
        world.machine.initialises = True

        async def is_there() -> bool:
            return await world.provision(1) == 1

        await eventually(is_there)


async def test_a_slow_init_ahead_does_not_keep_others_from_starting(
    world: World,
) -> None:
    world.machine.may_initialise.clear()
    provisioning = asyncio.create_task(world.provision(1))
    await world.wait_starting()

    assert (await world.invoke("parse")).ended is Ended.ANSWERED
    world.machine.may_initialise.set()
    assert await provisioning == 1


async def test_what_is_provisioned_does_not_grow_stale(world: World) -> None:
    await world.provision(1)
    await world.invoke()
    world.clock.advance(module.IDLE_S)
    now = world.clock.monotonic()

    assert world.scheduler.retire_idle(since=now) == 0
    await world.provision(0)

    assert world.scheduler.retire_idle(since=now) == 1


async def test_what_is_provisioned_makes_no_room_for_others(impatient: World) -> None:
    await impatient.provision(2)

    with pytest.raises(Throttled):
        await impatient.invoke("parse")
    await impatient.provision(1)

    assert (await impatient.invoke("parse")).ended is Ended.ANSWERED


async def test_what_is_provisioned_is_replaced_when_it_dies(world: World) -> None:
    await world.provision(1)
    await world.wait_starting()
    await world.invoke()

    world.machine.instances[0].die()
    await world.wait_starting()

    assert await world.provision(1) == 1
    assert world.scheduler.instances == 1


async def test_what_dies_before_it_was_used_is_tried_again_later() -> None:
    async with _world(again_s=0.0) as world:
        await world.provision(1)
        await world.wait_starting()

        world.machine.instances[0].die()
        await world.wait_starting()

        assert await world.provision(1) == 1


async def test_what_could_not_be_started_ahead_is_told_and_tried_again() -> None:
    async with _world(again_s=0.0) as world:
        world.machine.refusal = Unavailable("no")
        assert await world.provision(1) == 0
        world.machine.lost_zygotes = 1
        world.machine.refusal = None

        async def is_there() -> bool:
            return await world.provision(1) == 1

        await eventually(is_there)


async def test_what_cannot_be_imported_is_told(world: World) -> None:
    world.machine.importing["resize"] = asyncio.Event()
    world.machine.import_refusal = Unavailable("no")

    assert await world.provision(1) == 0


async def test_no_more_is_provisioned_than_may_be() -> None:
    async with _world(max_kept=1) as world:
        assert await world.provision(2) == 1


async def test_half_of_what_a_machine_has_room_for_is_left_to_others() -> None:
    async with _world(max_kept=None) as world:
        assert await world.provision(2) == 1


async def test_a_revision_that_is_drained_is_provisioned_no_more(
    world: World,
) -> None:
    await world.provision(2)

    await world.scheduler.drain("rev-of-resize")

    assert world.scheduler.instances == 0
    assert all(instance.is_stopped for instance in world.machine.instances)


async def test_what_is_being_initialised_is_drained_too(world: World) -> None:
    world.machine.may_initialise.clear()
    provisioning = asyncio.create_task(world.provision(1))
    await world.wait_starting()
    await asyncio.sleep(0)

    await world.scheduler.drain("rev-of-resize")
    world.machine.may_initialise.set()

    assert await provisioning == 0
    assert [instance.is_stopped for instance in world.machine.instances] == [True]
    assert world.scheduler.instances == 0


async def test_provisioning_is_given_up_while_it_starts(world: World) -> None:
    world.machine.may_start.clear()
    provisioning = asyncio.create_task(world.provision(2))
    await world.wait_starting()

    await world.provision(0)
    world.machine.may_start.set()

    assert await provisioning == 0
    assert (await world.invoke()).ended is Ended.ANSWERED


# --- standing by ----------------------------------------------------------------------


@pytest_asyncio.fixture
async def ready(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world with places enough for standbys, which are there at once."""
    monkeypatch.setattr(module, "REFILL_S", 0.0)
    async with _world(max_instances=16, max_standbys=2) as made:
        yield made


async def _stand_by(world: World, count: int) -> None:
    async def is_so() -> bool:
        return world.scheduler.standbys.there == count

    await eventually(is_so)


async def test_what_has_answered_has_a_standby_for_the_next_cold_start(
    ready: World,
) -> None:
    await ready.invoke()
    await ready.wait_running()
    await _stand_by(ready, 1)
    ready.machine.may_answer.clear()

    both = [ready.invoke(), ready.invoke()]
    first, second = await ready.wait_running(), await ready.wait_running()
    ready.machine.may_answer.set()
    await asyncio.gather(*both)

    assert [first.was_standby, second.was_standby] == [False, True]
    assert [first.runs, second.runs] == [2, 1]
    assert ready.scheduler.standbys.taken == 1
    await _stand_by(ready, 1)


async def test_an_environment_that_was_reset_comes_before_a_standby(
    ready: World,
) -> None:
    ready.machine.endings = [_run(Ended.ANSWERED), _run(Ended.TIMED_OUT)]
    await ready.invoke()
    await _stand_by(ready, 1)
    standby = ready.machine.instances[-1]
    await ready.invoke()
    assert ready.machine.instances[0].is_stopped
    ready.machine.is_reset = True

    await ready.invoke()

    assert standby.runs == 0
    assert ready.machine.instances[-1].runs == 1


async def test_what_is_provisioned_comes_before_an_environment_that_was_reset(
    world: World,
) -> None:
    await world.provision(1)
    world.machine.is_reset = True

    await world.invoke()

    assert [instance.runs for instance in world.machine.instances] == [1]


async def test_how_many_live_and_stand_by_can_be_asked(ready: World) -> None:
    function = _function("resize")
    assert ready.scheduler.instances_of(function) == (0, 0)

    await ready.invoke()
    await _stand_by(ready, 1)

    assert ready.scheduler.instances_of(function) == (2, 1)
    assert ready.scheduler.instances_of(replace(function, serving=None)) == (0, 0)


async def test_nothing_stands_by_for_what_has_never_answered(ready: World) -> None:
    ready.machine.endings = [_run(Ended.INIT_FAILED)]

    await ready.invoke()

    assert ready.scheduler._state.standbys_of("rev-of-resize") == (0, 0)  # noqa: SLF001


async def test_nobody_knows_for_which_isolation_key_to_stand_by(ready: World) -> None:
    await ready.invoke(isolation_key="ann")

    assert not ready.scheduler._state.due  # noqa: SLF001
    assert len(ready.machine.instances) == 1


async def test_a_standby_goes_when_its_function_is_not_used_any_more(
    ready: World,
) -> None:
    await ready.invoke()
    await _stand_by(ready, 1)

    ready.clock.advance(module.IDLE_S)
    ready.scheduler.standbys.sweep(ready.clock.monotonic())

    assert ready.machine.instances[1].is_stopped
    assert ready.scheduler.instances == 1


async def test_a_standby_is_not_stale_while_it_is_wanted(ready: World) -> None:
    await ready.invoke()
    await _stand_by(ready, 1)

    assert ready.scheduler.retire_idle(since=ready.clock.monotonic() + 1) == 1
    assert ready.machine.instances[0].is_stopped
    assert ready.scheduler.standbys.there == 1


async def test_a_standby_that_cannot_be_initialised_is_not_tried_again(
    ready: World,
) -> None:
    ready.machine.initialises = False
    await ready.invoke()

    async def has_failed() -> bool:
        return len(ready.machine.instances) == 2 and ready.scheduler.instances == 1

    await eventually(has_failed)
    ready.scheduler.standbys.sweep(ready.clock.monotonic())

    assert ready.scheduler._state.standbys_of("rev-of-resize") == (0, 0)  # noqa: SLF001


async def test_draining_ends_standbys_too(ready: World) -> None:
    await ready.invoke()
    await _stand_by(ready, 1)

    await ready.scheduler.drain("rev-of-resize")

    assert ready.scheduler.instances == 0
    assert not ready.scheduler._state.versions  # noqa: SLF001


async def test_where_standbys_are_few_those_used_last_have_them(ready: World) -> None:
    for name in ("resize", "parse", "mail"):
        await ready.invoke(name)
        await _stand_by(ready, min(2, len(ready.machine.instances) // 2 + 1))

    state = ready.scheduler._state  # noqa: SLF001
    wanted = [state.standbys_of(f"rev-of-{n}")[0] for n in ("resize", "parse", "mail")]
    assert wanted == [0, 1, 1]


# --- how fast a function may grow -----------------------------------------------------


async def test_a_function_has_only_so_many_new_instances_within_a_time() -> None:
    async with _world(scaling=2) as world:
        for key in ("ann", "bob"):
            await world.invoke(isolation_key=key)

        with pytest.raises(Throttled, match="2 new instances") as caught:
            await world.invoke(isolation_key="cid")
        await world.invoke(isolation_key="bob")
        await world.invoke("parse")
        world.clock.advance(caught.value.retry_after_s)
        await world.invoke(isolation_key="cid")

        assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
        assert caught.value.limit == 2
        assert 0 < caught.value.retry_after_s <= SCALING_S / 2 + 1e-6


async def test_who_waits_and_is_given_one_that_was_used_has_had_no_new_one() -> None:
    async with _world(scaling=3) as world:
        world.machine.may_answer.clear()
        running = [world.invoke(), world.invoke()]
        for _ in running:
            await world.wait_running()
        waiting = world.invoke()
        await asyncio.sleep(0)
        with pytest.raises(Throttled, match="3 new instances"):
            await world.invoke()

        world.machine.may_answer.set()
        await asyncio.gather(*running, waiting)

        assert len(world.machine.instances) == 2
        assert (await world.invoke(isolation_key="ann")).ended is Ended.ANSWERED


async def test_a_standby_is_new_for_the_function_when_it_is_first_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFILL_S", 0.0)
    async with _world(max_instances=16, max_standbys=2, scaling=1) as world:
        await world.invoke()
        await _stand_by(world, 1)
        world.machine.may_answer.clear()
        running = world.invoke()
        await world.wait_running()

        with pytest.raises(Throttled, match="1 new instances"):
            await world.invoke()

        world.machine.may_answer.set()
        await running


async def test_without_a_limit_a_function_grows_as_fast_as_it_can() -> None:
    async with _world(scaling=0) as world:
        for number in range(4):
            await world.invoke(isolation_key=f"key-{number}")


# --- memory and what is expected ------------------------------------------------------


async def test_where_memory_is_short_standbys_go_first_and_then_the_idle(
    ready: World,
) -> None:
    await ready.invoke()
    await _stand_by(ready, 1)
    ready.machine.missing_mb = LEAST_MB

    assert ready.scheduler.upkeep.relieve() == 1
    assert ready.machine.has_dropped, "what is kept of the dead goes before the living"
    assert [i.is_stopped for i in ready.machine.instances] == [False, True]
    assert ready.machine.shed_mb == 0
    assert ready.scheduler.upkeep.relieve() == 1
    assert ready.machine.instances[0].is_stopped
    assert ready.scheduler.upkeep.relieve() == 0
    assert ready.machine.shed_mb == LEAST_MB


async def test_where_memory_is_short_nothing_stands_by_until_it_is_not(
    ready: World,
) -> None:
    ready.machine.missing_mb = 1.0
    ready.scheduler.upkeep.relieve()
    await ready.invoke()

    assert ready.scheduler._refill is None  # noqa: SLF001 - nobody will look
    ready.machine.missing_mb = 0.0
    ready.scheduler.upkeep.relieve()
    await ready.invoke()

    await _stand_by(ready, 1)


async def test_as_much_is_given_back_as_is_missing(world: World) -> None:
    for key in ("ann", "bob"):
        await world.invoke(isolation_key=key)
    for instance in world.machine.instances:
        instance.memory_mb = 50.0
    world.machine.missing_mb = 40.0

    assert world.scheduler.upkeep.relieve() == 1
    assert [i.is_stopped for i in world.machine.instances] == [True, False]


async def test_what_is_kept_stays_however_short_memory_is(world: World) -> None:
    await world.provision(1)
    world.machine.missing_mb = 1_000.0

    assert world.scheduler.upkeep.relieve() == 0
    assert world.scheduler.provisioned("rev-of-resize") == 1


async def test_what_is_expected_is_made_ready_and_stands_by(ready: World) -> None:
    for _ in range(30):
        await ready.invoke()
        ready.clock.advance(1_800)
    ready.scheduler.standbys.sweep(ready.clock.monotonic() - 900)
    ready.machine.importing["resize"] = asyncio.Event()
    ready.machine.importing["resize"].set()
    made = len(ready.machine.instances)

    ready.scheduler.upkeep.bring_back(ready.clock.monotonic())

    await _stand_by(ready, 1)
    assert "resize" not in ready.machine.importing
    assert len(ready.machine.instances) >= made


async def test_what_cannot_be_made_ready_ahead_is_not_tried_for_ever(
    ready: World,
) -> None:
    for _ in range(30):
        await ready.invoke()
        ready.clock.advance(1_800)
    ready.machine.importing["resize"] = asyncio.Event()
    ready.machine.import_refusal = Unavailable("no")
    (known,) = ready.scheduler.standbys
    now = ready.clock.monotonic()
    assert known.history.is_coming_back(now)

    ready.scheduler.upkeep.bring_back(now)

    async def has_given_up() -> bool:
        return not known.history.is_coming_back(now)

    await eventually(has_given_up)
    del ready.machine.importing["resize"]


# --- waiting for one that serves ------------------------------------------------------


@pytest_asyncio.fixture
async def slow() -> AsyncIterator[World]:
    """A world in which starts take a second and runs a tenth, which is known."""
    async with _world() as made:
        for _ in range(10):
            made.machine.endings.append(
                structs.replace(_run(Ended.ANSWERED), duration_s=0.1, init_s=1.0)
            )
            await made.invoke()
            await made.wait_running()
        yield made


async def test_who_would_wait_longer_for_a_start_waits_for_a_busy_instance(
    slow: World,
) -> None:
    slow.machine.may_answer.clear()
    running = slow.invoke()
    await slow.wait_running()
    waiting = slow.invoke()
    await asyncio.sleep(0)

    assert slow.scheduler.held == 1
    slow.machine.may_answer.set()
    await asyncio.gather(running, waiting)

    assert len(slow.machine.instances) == 1
    assert not slow.scheduler._serving  # noqa: SLF001 - nothing is left of it


async def test_who_waits_for_a_busy_instance_in_vain_has_one_started(
    slow: World,
) -> None:
    slow.machine.may_answer.clear()
    running = slow.invoke()
    await slow.wait_running()

    # It was likely to be free within a tenth of a second, and is not.
    waiting = slow.invoke()
    await slow.wait_running()

    assert len(slow.machine.instances) == 2
    slow.machine.may_answer.set()
    await asyncio.gather(running, waiting)


async def test_who_is_held_and_gives_up_is_forgotten(slow: World) -> None:
    slow.machine.may_answer.clear()
    running = slow.invoke()
    await slow.wait_running()
    waiting = slow.invoke()
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])
    slow.machine.may_answer.set()
    await running

    assert slow.scheduler._state.waiting == 0  # noqa: SLF001


async def test_where_starts_are_quick_nobody_waits_for_a_busy_instance(
    world: World,
) -> None:
    world.machine.may_answer.clear()
    both = [world.invoke(), world.invoke()]
    await world.wait_running()
    await world.wait_running()
    world.machine.may_answer.set()
    await asyncio.gather(*both)

    assert world.scheduler.held == 0


def _with_rest() -> Run:
    async def rest() -> Run:
        raise AssertionError("it is the invoker's to ask")

    return structs.replace(_run(Ended.ANSWERED), rest=rest)


async def test_an_instance_whose_extensions_are_at_work_is_not_lent(
    world: World,
) -> None:
    world.machine.endings = [_with_rest()]
    await world.invoke()
    await world.invoke()
    first, second = world.machine.instances
    assert (first.runs, second.runs) == (1, 1)

    first.has_settled.set()
    async with asyncio.timeout(WAIT_S):
        while not first.is_usable:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)
    second.die()
    await world.invoke()

    assert first.runs == 2


async def test_an_instance_whose_extensions_failed_is_let_go(world: World) -> None:
    world.machine.endings = [_with_rest()]
    await world.invoke()
    (first,) = world.machine.instances
    first.is_stopped = True
    first.has_settled.set()
    await world.scheduler.drain("rev-of-resize")
    await world.invoke()

    assert [instance.runs for instance in world.machine.instances] == [1, 1]


async def test_draining_waits_for_extensions(world: World) -> None:
    world.machine.endings = [_with_rest()]
    await world.invoke()
    draining = asyncio.get_running_loop().create_task(
        world.scheduler.drain("rev-of-resize")
    )
    await asyncio.sleep(0)
    assert not draining.done()

    (instance,) = world.machine.instances
    instance.has_settled.set()
    async with asyncio.timeout(WAIT_S):
        await draining

    assert instance.is_stopped
