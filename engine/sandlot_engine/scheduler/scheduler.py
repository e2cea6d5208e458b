"""Lends instances to invocations, as `ClusterState` decides, and runs them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Unavailable
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, InvocationType, Run
from sandlot_engine.scheduler.ahead import Ahead
from sandlot_engine.scheduler.borrowing import Borrowing
from sandlot_engine.scheduler.bounds import (
    IDLE_S,
    KEPT_SHARE,
    MAX_FAILED_STARTS,
    MAX_INSTANCES,
    MAX_STARTING,
    MAX_STARTING_OF_TENANT,
    OTHERS_SHARE,
    PLACE_S,
    STANDBYS_SHARE,
)
from sandlot_engine.scheduler.history import History
from sandlot_engine.scheduler.live import LiveInstances
from sandlot_engine.scheduler.ports import Instance, Machine
from sandlot_engine.scheduler.provisions import PROVISION_AGAIN_S, Provisions
from sandlot_engine.scheduler.scaling import SCALING, Scaling
from sandlot_engine.scheduler.serving import HOLD_S, Serving
from sandlot_engine.scheduler.standbys import Standbys
from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
    StartAhead,
)
from sandlot_engine.scheduler.turns import Turns
from sandlot_engine.scheduler.upkeep import Upkeep
from sandlot_engine.scheduler.using import Using

Check = Callable[[Function], object]
"""Raises a `SandlotError` where a function may not be run (any more). Never waits."""


class _Lent(Struct, frozen=True):
    number: int
    instance: Instance
    is_new: bool
    is_standby: bool = False


class Scheduler:
    """Satisfies `invocation.ports.Runner`. Owns every instance that it has started.

    For `ClusterState`, a version is a revision and an isolation key: instances of one
    key are never lent to invocations with another, or with none.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        clock: Clock,
        state: ClusterState,
        group: asyncio.TaskGroup,
        idle_s: float,
        place_s: float,
        again_s: float,
        standby_s: float,
        scaling: int,
        check: Check,
    ) -> None:
        self._machine = machine
        self._check = check
        self._clock = clock
        self._state = state
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._using = Using()
        self._serving = Serving()
        self._live = LiveInstances(
            state,
            machine,
            act=self._act,
            note_gone=lambda revision: self.provisions.note_progress(revision),
            note_unused=lambda revision, init_s: self._ahead.note_failed(
                revision, took_s=init_s
            ),
        )
        self.standbys = Standbys(
            state, act=self._act, retire=self._live.retire, keep_s=standby_s
        )
        self.provisions = Provisions(
            state,
            machine,
            again_s=again_s,
            now=clock.monotonic,
            act=self._act,
            aside=self._aside,
        )
        self.upkeep = Upkeep(
            state,
            machine,
            self.standbys,
            clock=clock,
            idle_s=idle_s,
            find=self._live.find,
            act=self._act,
            retire=self._live.retire,
            aside=self._aside,
        )
        self._ahead = Ahead(
            state,
            self._live,
            provisions=self.provisions,
            standbys=self.standbys,
            is_short=lambda: self.upkeep.is_short,
            now=clock.monotonic,
            act=self._act,
        )
        self.borrowing = Borrowing(
            state,
            self._live,
            standbys=self.standbys,
            using=self._using,
            clock=clock,
            act=self._act,
        )
        self._turns = Turns(
            state,
            self.standbys,
            clock=clock,
            place_s=place_s,
            scaling=Scaling(scaling),
            serving=self._serving,
            act=self._act,
        )

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        machine: Machine,
        *,
        clock: Clock,
        max_instances: int = MAX_INSTANCES,
        max_starting: int = MAX_STARTING,
        max_starting_of_tenant: int = MAX_STARTING_OF_TENANT,
        idle_s: float = IDLE_S,
        max_kept: int | None = None,
        place_s: float = PLACE_S,
        again_s: float = PROVISION_AGAIN_S,
        max_standbys: int = 0,
        standby_s: float | None = None,
        scaling: int = SCALING,
        check: Check = lambda _: None,
    ) -> AsyncIterator["Scheduler"]:
        """A scheduler that retires what has been idle for `idle_s`. What may be kept
        follows from `max_instances`, unless it is given. A version has standbys for
        `standby_s` after its last use, or else for `idle_s`. A `scaling` of 0 is none.
        What `check` raises, whoever had to wait for an instance is told.
        """
        state = ClusterState(
            max_instances=max_instances,
            max_starting=max_starting,
            max_starting_of_tenant=max_starting_of_tenant,
            max_kept=max_instances // KEPT_SHARE if max_kept is None else max_kept,
            max_standbys=min(max_standbys, max_instances // STANDBYS_SHARE),
            max_of_tenant=max_instances - max_instances // OTHERS_SHARE,
        )
        async with asyncio.TaskGroup() as group:
            scheduler = cls(
                machine,
                clock=clock,
                state=state,
                group=group,
                idle_s=idle_s,
                place_s=place_s,
                again_s=again_s,
                standby_s=idle_s if standby_s is None else standby_s,
                scaling=scaling,
                check=check,
            )
            watching = [
                scheduler._aside(scheduler.upkeep.sweep()),
                scheduler._aside(scheduler.upkeep.watch_memory()),
            ]
            try:
                yield scheduler
            finally:
                for task in watching:
                    task.cancel()
                scheduler._keep_nothing()
                scheduler._ahead.refill_no_more()

    @property
    def instances(self) -> int:
        return len(self._live)

    @property
    def held(self) -> int:
        """Invocations for which an instance that served was waited for, so far."""
        return self._turns.held

    def instances_of(self, function: Function) -> tuple[int, int]:
        """How many live of its serving revision, whomever they are for, and how many of
        those stand by."""
        if function.serving is None:
            return 0, 0
        revision = function.serving
        if revision.config.per_tenant:
            # They are versions of their own, and of those nobody keeps a list.
            live = self._live.count_of(revision.id)
        else:
            live = self._state.live_of(revision.id)
        return live, self._state.standbys_of(revision.id)[1]

    def has_idle(self, version: str) -> bool:
        """Whether an invocation would be given an idle instance at once."""
        return bool(self._state.idle_of(version))

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        note_cut: Callable[[float], None],
    ) -> Run:
        """See `invocation.ports.Runner`."""
        revision = function.serving
        assert revision is not None, "the invoker resolved it"  # noqa: S101
        # Once for the whole of it: a version that is drained must not be used again.
        self._using.begin(revision.id)
        history = self.standbys.note_arrival(
            function, revision, self._clock.monotonic()
        )
        try:
            run = await self._run(history, function, revision, invocation, note_cut)
            if run.ended is Ended.INIT_TIMED_OUT and not run.is_restore:
                # As on Lambda: the init is run again, now within the function's
                # timeout.
                late_s = run.init_s
                run = await self._run(
                    *(history, function, revision, invocation, note_cut),
                    init_counts=True,
                )
                run = replace(run, late_init_s=late_s)
            if _ended_well(run) and not invocation.isolation_key:
                # Of others, nobody knows whom the next one will be for.
                self.standbys.review(revision.id, self._clock.monotonic())
            return run
        finally:
            history.note_end(self._clock.monotonic())
            self._using.end(revision.id)

    def _learn(
        self, history: History, revision: Revision, invocation: Invocation, run: Run
    ) -> None:
        """From a run that ended well, before its instance is idle: that is worth what
        it is found to be."""
        history.note_run(
            run_s=run.duration_s,
            init_s=run.init_s,
            memory_mb=float(run.max_memory_mb),
        )
        self._state.worth(_version(revision, invocation), history.worth())

    async def _run(
        self,
        history: History,
        function: Function,
        revision: Revision,
        invocation: Invocation,
        note_cut: Callable[[float], None],
        *,
        init_counts: bool = False,
    ) -> Run:
        while True:
            lent = await self._take(function, revision, invocation)
            began = self._clock.monotonic()
            try:
                # Its tenant may have been suspended while it waited.
                self._check(function)
                self._note_serving(revision, invocation, lent, began)
                run = await lent.instance.run(
                    function,
                    invocation,
                    wait_s=began - invocation.arrived,
                    init_counts=init_counts,
                    is_standby=lent.is_standby,
                )
            except asyncio.CancelledError:
                note_cut(self._clock.monotonic() - began)
                raise
            except Unavailable:
                # An idle one may end at any time, in this very moment, too. The work
                # did not start, and there are only so many idle ones.
                if lent.is_new:
                    raise
            else:
                if _ended_well(run):
                    self._learn(history, revision, invocation, run)
                return run
            finally:
                self._have_back(lent, revision.id)

    def _note_serving(
        self, revision: Revision, invocation: Invocation, lent: _Lent, now: float
    ) -> None:
        known = self.standbys.find(revision.id)
        if known is not None and known.history.start_s > HOLD_S:
            since = now + known.history.start_s if lent.is_new else now
            self._serving.note(_version(revision, invocation), lent.number, since)

    async def drain(self, revision: str) -> None:
        """Destroy a revision's idle instances, and the others when they have answered.

        For a revision that gets no new invocations. Every one has a timeout, so this
        ends; cancel it to wait no longer.
        """
        self.provisions.keep_no_more(revision)
        self.standbys.forget(revision)
        self._live.retire(self._state.initialising_of(revision))
        self._live.retire(self._live.idle_of(revision))
        if self._using.is_used(revision):
            await self._using.wait_unused(revision)
            self.standbys.forget(revision)
            self._live.retire(self._live.idle_of(revision))

    # --- started ahead ------------------------------------------------------------

    async def provision(
        self, function: Function, revision: Revision, count: int
    ) -> int:
        """Keep `count` instances of a revision alive, from now on: started ahead,
        spared where others have to go, replaced when they die. 0 keeps none, and so
        does `drain`: those there are then become instances like any other.

        Returns how many are initialised, once that is enough, or it has failed, or
        after that has taken too long. What has failed is tried again.
        """
        return await self.provisions.provision(function, revision, count)

    def provisioned(self, revision: str) -> int:
        """How many of those that are kept of a revision are there now, and initialised.
        Never waits."""
        return self.provisions.provisioned(revision)

    def _keep_nothing(self) -> None:
        self.provisions.keep_nothing()
        for task in self._tasks:
            task.cancel()

    def _aside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- lent ---------------------------------------------------------------------

    def _have_back(self, lent: _Lent, revision: str) -> None:
        """After an invocation, however it ended. What `_take` gave has to go this way.

        Only an instance that is usable is given to others. After an error or a
        cancellation nobody knows what the tenant's code is still doing in there, so the
        instance is destroyed.
        """
        self._serving.forget(lent.number)
        if lent.instance.is_usable:
            self._act(self._state.instance_freed(lent.number))
        elif lent.instance.is_settling:
            self._using.begin(revision)
            self._aside(self._settle(lent.number, lent.instance, revision))
        else:
            self._live.let_go(lent.number, lent.instance)

    async def _settle(self, number: int, instance: Instance, revision: str) -> None:
        """It is busy until its extensions have done, and so is its revision."""
        try:
            if await instance.wait_settled():
                self._act(self._state.instance_freed(number))
            else:
                self._live.let_go(number, instance)
        finally:
            self._using.end(revision)

    async def _take(
        self, function: Function, revision: Revision, invocation: Invocation
    ) -> _Lent:
        """An instance for one invocation, an idle one if there is one."""
        version = _version(revision, invocation)
        failed_starts = 0
        while True:
            if not self._machine.is_ready(function, revision):
                # Before we ask for a place to start in: the places are everybody's,
                # and an import takes as long as its tenant likes.
                await self._machine.make_ready(
                    function,
                    revision,
                    is_awaited=invocation.type is not InvocationType.EVENT,
                )
            # As on Lambda, an environment that was reset comes before unused ones; but
            # for provisioned ones, which are there so that nothing has to be started.
            is_reset = revision.id not in self.provisions and self._machine.has_reset(
                function, revision
            )
            # Nearly always one is idle, and nobody has to be told of a turn.
            idle = None if is_reset else self._state.instance_borrowed(version)
            assigned = (
                await self._turns.wait(revision, invocation, version, is_reset=is_reset)
                if idle is None
                else Assign(invocation.request_id, idle)
            )
            if assigned is None:
                self.standbys.note_missing(version, self._clock.monotonic())
                number = await self._live.start(function, revision, version)
                if number is not None:
                    return _Lent(number, self._live[number], is_new=True)
                failed_starts += 1
                if failed_starts == MAX_FAILED_STARTS:
                    raise Unavailable(
                        f"the zygote of {function.name!r} ended {failed_starts} times"
                        " before it had forked an instance"
                    )
                continue
            number, is_standby = assigned.instance, assigned.is_standby
            instance = self._live.find(number)
            self._live.note_used(number)
            if instance is not None and instance.is_usable:
                if is_standby:
                    self.standbys.note_taken(version, self._clock.monotonic())
                return _Lent(number, instance, is_new=False, is_standby=is_standby)
            # An idle instance can end by itself at any time, and between an
            # assignment and its invocation's turn: then we ask for another.
            self._live.let_go(number, instance)

    def _act(self, decisions: list[Decision]) -> None:
        if decisions:
            self._do(decisions)
        self._ahead.refill_later()

    def _do(self, decisions: list[Decision]) -> None:
        todo = deque(decisions)
        while todo:
            match todo.popleft():
                # What nobody waits for any more goes back at once.
                case Assign(invocation=invocation) as assigned:
                    if not self._turns.tell(invocation, assigned):
                        todo += self._state.instance_freed(assigned.instance)
                case Start(invocation=invocation, version=version):
                    if not self._turns.tell(invocation, None):
                        todo += self._state.start_ended(version, None)
                case StartAhead(version=version):
                    self._aside(self._ahead.start(version))
                case Retire(instance=number):
                    self._live.drop(number)


def _ended_well(run: Run) -> bool:
    return run.ended in (Ended.ANSWERED, Ended.FAILED)


def _version(revision: Revision, invocation: Invocation) -> str:
    """What an instance can be lent to. An id has no space, so no key is mistaken."""
    if not invocation.isolation_key:
        return revision.id
    return f"{revision.id} {invocation.isolation_key}"
