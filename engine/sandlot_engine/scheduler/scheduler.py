"""Lends instances to invocations, as `ClusterState` decides, and runs them."""

import asyncio
import itertools
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError, Throttled, Unavailable
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, Run
from sandlot_engine.scheduler.history import History
from sandlot_engine.scheduler.ports import Instance, Lendable, Machine
from sandlot_engine.scheduler.provisions import PROVISION_AGAIN_S, Provisions
from sandlot_engine.scheduler.scaling import SCALING, Scaling
from sandlot_engine.scheduler.serving import HOLD_S, Serving
from sandlot_engine.scheduler.standbys import Standbys, ids_of
from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
    StartAhead,
)
from sandlot_engine.scheduler.upkeep import Upkeep

MAX_INSTANCES = 3_200
"""Live on one machine."""

OTHERS_SHARE = 16
"""Of those, the part divided by this is left to others by every tenant: whoever has all
the rest, with invocations that take a quarter of an hour, keeps nobody waiting for it.
Beyond that a tenant that has less gets the next place of one that has more."""

MAX_STARTING = 16
"""Being started at once."""

MAX_STARTING_OF_TENANT = MAX_STARTING // 2
"""Of those, one tenant's: its starts may hang, and others must go on."""

KEPT_SHARE = 2
"""Of those that may live, the part divided by this may be kept ahead: others must find
room."""

STANDBYS_SHARE = 8
"""Of those that may live, the part divided by this may stand by; they are the first to
go where there is no room."""

MAX_STANDBYS = 256
"""In all: each takes a megabyte at least."""

REFILL_S = 0.02
"""A standby that was used is replaced this much later, and no two at once, so that
starting it does not compete with the invocation that it was used for."""

MAX_FAILED_STARTS = 2
"""For one invocation: what was lost under us deserves a second try."""

IDLE_S = 300.0
"""How long an instance stays without an invocation."""

PLACE_S = 10.0
"""How long an invocation waits for an instance, or for a place to start one."""

RETRY_AFTER_S = 5.0
"""What a caller is told who waited for that in vain."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Live:
    instance: Instance
    revision: str
    version: str


class _Lent(Struct, frozen=True):
    number: int
    instance: Instance
    is_new: bool
    is_standby: bool = False


@dataclass(frozen=True, slots=True)
class Borrowed:
    """An instance that somebody else runs invocations on; see `Scheduler.borrow`."""

    number: int
    instance: Lendable
    revision: str


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
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._state = state
        self._group = group
        self._place_s = place_s
        self._numbers = itertools.count(1)
        self._instances: dict[int, _Live] = {}
        # What a waiting invocation is told: an instance, or to start one itself.
        self._turns: dict[str, asyncio.Future[Assign | None]] = {}
        # By revision: invocations that are waiting or running, and who waits for
        # the last of them.
        self._running: Counter[str] = Counter()
        # Started ahead, and nobody has used them.
        self._fresh: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.standbys = Standbys(
            state, act=self._act, retire=self._retire, keep_s=standby_s
        )
        self.provisions = Provisions(
            state, machine, again_s=again_s, act=self._act, aside=self._aside
        )
        self.upkeep = Upkeep(
            state,
            machine,
            self.standbys,
            clock=clock,
            idle_s=idle_s,
            find=self._find,
            act=self._act,
            retire=self._retire,
            aside=self._aside,
        )
        self._refill: asyncio.TimerHandle | None = None
        self._is_over = False
        self._serving = Serving()
        self.held = 0
        """Invocations for which an instance that served was waited for, so far."""
        self._scaling = Scaling(scaling)
        self._drained: dict[str, asyncio.Event] = {}

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
    ) -> AsyncIterator["Scheduler"]:
        """A scheduler that retires what has been idle for `idle_s`. What may be kept
        follows from `max_instances`, unless it is given. A version has standbys for
        `standby_s` after its last use, or else for `idle_s`. A `scaling` of 0 is none.
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
                scheduler._refill_no_more()

    @property
    def instances(self) -> int:
        return len(self._instances)

    def instances_of(self, function: Function) -> tuple[int, int]:
        """How many live of its serving revision, whomever they are for, and how many of
        those stand by."""
        if function.serving is None:
            return 0, 0
        revision = function.serving
        if revision.config.per_tenant:
            # They are versions of their own, and of those nobody keeps a list.
            live = sum(
                each.revision == revision.id for each in self._instances.values()
            )
        else:
            live = self._state.live_of(revision.id)
        return live, self._state.standbys_of(revision.id)[1]

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
        self._running[revision.id] += 1
        history = self.standbys.note_arrival(
            function, revision, self._clock.monotonic()
        )
        try:
            run = await self._run(function, revision, invocation, note_cut)
            if run.ended is Ended.INIT_TIMED_OUT and not run.is_restore:
                # As on Lambda: the init is run again, now within the function's
                # timeout.
                late_s = run.init_s
                run = await self._run(
                    function, revision, invocation, note_cut, init_counts=True
                )
                run = replace(run, late_init_s=late_s)
            if run.ended in (Ended.ANSWERED, Ended.FAILED):
                self._learn(history, revision, invocation, run)
            return run
        finally:
            history.note_end(self._clock.monotonic())
            self._note_end(revision.id)

    def _learn(
        self, history: History, revision: Revision, invocation: Invocation, run: Run
    ) -> None:
        """From a run that ended well."""
        now = self._clock.monotonic()
        history.note_run(
            now,
            run_s=run.duration_s,
            init_s=run.init_s,
            memory_mb=float(run.max_memory_mb),
        )
        version = _version(revision, invocation)
        self._state.worth(version, history.worth())
        if not invocation.isolation_key:
            # Of others, nobody knows whom the next one will be for.
            self.standbys.review(revision.id, now)

    async def _run(
        self,
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
                self._note_serving(revision, invocation, lent, began)
                return await lent.instance.run(
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
        self._retire(self._state.initialising_of(revision))
        self._retire(self._idle_of(revision))
        if self._running[revision]:
            await self._drained.setdefault(revision, asyncio.Event()).wait()
            self.standbys.forget(revision)
            self._retire(self._idle_of(revision))

    # --- borrowed -----------------------------------------------------------------

    def has_idle(self, version: str) -> bool:
        """Whether an invocation would be given an idle instance at once."""
        return bool(self._state.idle_of(version))

    def borrow(self, revision: str) -> Borrowed | None:
        """An idle instance of a revision, for whoever gives it `give_back`; None where
        there is none. Until then it counts as busy, and `drain` waits for it."""
        number = self._state.instance_borrowed(revision)
        if number is None:
            return None
        live = self._instances.get(number)
        self._fresh.discard(number)
        if live is None or not live.instance.is_usable:
            self._let_go(number, live.instance if live is not None else None)
            return None
        self._running[revision] += 1
        # All that a machine starts can be lent; only tests have others.
        return Borrowed(number, cast("Lendable", live.instance), revision)

    def note_elsewhere(
        self, function: Function, *, run_s: float, memory_mb: float
    ) -> None:
        """An invocation ran on what was borrowed. Told of some of them is enough: of
        many within a moment, nothing is learned that one does not say."""
        revision = function.serving
        if revision is not None:
            now = self._clock.monotonic()
            history = self.standbys.note_arrival(function, revision, now)
            history.note_run(now, run_s=run_s, init_s=None, memory_mb=memory_mb)
            history.note_end(now)

    def give_back(self, borrowed: Borrowed) -> None:
        """What was borrowed; if it is not usable any more, it is destroyed."""
        if borrowed.instance.is_usable:
            self._act(self._state.instance_freed(borrowed.number))
        else:
            self._let_go(borrowed.number, borrowed.instance)
        self._note_end(borrowed.revision)

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

    async def _start_ahead(self, revision: str) -> None:
        wanted = self.provisions.find(revision) or self.standbys.find(revision)
        if wanted is None:
            # It was given up between the decision and now.
            self._act(self._state.start_ended(revision, None, ahead=True))
            return
        number = None
        try:
            number = await self._start(
                wanted.function, wanted.revision, revision, ahead=True
            )
        except SandlotError as error:
            ids = ids_of(wanted.function)
            _log.warning("not started ahead: %s", error.message, extra=ids)
        limit_s = wanted.revision.config.init_ahead_s
        if number is None or not await self._initialise(number, limit_s):
            self.standbys.note_failed(revision)
        self.provisions.note_progress(revision)

    def _refill_later(self) -> None:
        may_refill = not (self._is_over or self.upkeep.is_short)
        if self._state.due and self._refill is None and may_refill:
            self._refill = asyncio.get_running_loop().call_later(
                REFILL_S, self._refill_now
            )

    def _refill_now(self) -> None:
        self._refill = None
        if not self.upkeep.is_short:
            self._act(self._state.refill())

    def _refill_no_more(self) -> None:
        self._is_over = True
        if self._refill is not None:
            self._refill.cancel()

    async def _initialise(self, number: int, limit_s: float) -> bool:
        """Until it is initialised nobody is given it; its place to start in is free."""
        live = self._instances.get(number)
        if live is None:
            return False
        if await live.instance.wait_ready(limit_s):
            self._act(self._state.instance_freed(number))
            return True
        self._note_death(number)
        live.instance.stop()
        return False

    def _aside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- lent ---------------------------------------------------------------------

    def _idle_of(self, revision: str) -> list[int]:
        """Whomever they are for."""
        live = self._instances.values()
        versions = {each.version for each in live if each.revision == revision}
        return [number for each in versions for number in self._state.idle_of(each)]

    def _note_end(self, revision: str) -> None:
        self._running[revision] -= 1
        if not self._running[revision]:
            del self._running[revision]
            if (drained := self._drained.pop(revision, None)) is not None:
                drained.set()

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
            self._running[revision] += 1
            self._aside(self._settle(lent.number, lent.instance, revision))
        else:
            self._let_go(lent.number, lent.instance)

    async def _settle(self, number: int, instance: Instance, revision: str) -> None:
        """It is busy until its extensions have done, and so is its revision."""
        try:
            if await instance.wait_settled():
                self._act(self._state.instance_freed(number))
            else:
                self._let_go(number, instance)
        finally:
            self._note_end(revision)

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
                await self._machine.make_ready(function, revision)
            # As on Lambda, an environment that was reset comes before unused ones; but
            # for provisioned ones, which are there so that nothing has to be started.
            is_reset = revision.id not in self.provisions and self._machine.has_reset(
                function, revision
            )
            # Nearly always one is idle, and nobody has to be told of a turn.
            idle = None if is_reset else self._state.instance_borrowed(version)
            assigned = (
                await self._wait_turn(revision, invocation, version, is_reset=is_reset)
                if idle is None
                else Assign(invocation.request_id, idle)
            )
            if assigned is None:
                self.standbys.note_missing(version, self._clock.monotonic())
                number = await self._start(function, revision, version)
                if number is not None:
                    instance = self._instances[number].instance
                    return _Lent(number, instance, is_new=True)
                failed_starts += 1
                if failed_starts == MAX_FAILED_STARTS:
                    raise Unavailable(
                        f"the zygote of {function.name!r} ended {failed_starts} times"
                        " before it had forked an instance"
                    )
                continue
            number, is_standby = assigned.instance, assigned.is_standby
            live = self._instances.get(number)
            self._fresh.discard(number)
            if live is not None and live.instance.is_usable:
                if is_standby:
                    self.standbys.note_taken(version, self._clock.monotonic())
                return _Lent(number, live.instance, False, is_standby)
            # An idle instance can end by itself at any time, and between an
            # assignment and its invocation's turn: then we ask for another.
            self._let_go(number, live.instance if live is not None else None)

    def _let_go(self, number: int, instance: Instance | None) -> None:
        self._fresh.discard(number)
        self._act(self._state.instance_died(number))
        self._instances.pop(number, None)
        if instance is not None:
            instance.stop()

    async def _wait_turn(
        self,
        revision: Revision,
        invocation: Invocation,
        version: str,
        *,
        is_reset: bool,
    ) -> Assign | None:
        """An instance, or None: start one, a place is kept for it.

        Raises `Throttled` where neither is to be had within `place_s`, and where its
        function has had as many new ones lately as it may.
        """
        function = (invocation.tenant_id, invocation.function)
        is_counted = not self._state.has_warm(version)
        if is_counted:
            self._scaling.take(*function, self._clock.monotonic())
        is_new = False
        try:
            assigned = await self._take_turn(
                invocation,
                version,
                self._hold_s(revision, version),
                is_reset=is_reset,
            )
            is_new = assigned is None or assigned.is_standby
        finally:
            if is_counted and not is_new:
                self._scaling.give_back(*function)
        return assigned

    def _hold_s(self, revision: Revision, version: str) -> float:
        """How long to wait for an instance that serves now, rather than start one."""
        known = self.standbys.find(revision.id)
        if known is None:
            return 0.0
        return self._serving.hold_s(
            known.history,
            version,
            self._clock.monotonic(),
            ahead=self._state.waiting_of(version),
        )

    def _hold_no_more(self, request_id: str) -> None:
        self._act(self._state.hold_no_more(request_id))

    async def _take_turn(
        self,
        invocation: Invocation,
        version: str,
        hold_s: float,
        *,
        is_reset: bool,
    ) -> Assign | None:
        request_id = invocation.request_id
        turn: asyncio.Future[Assign | None] = asyncio.get_running_loop().create_future()
        self._turns[request_id] = turn
        self._act(
            self._state.invocation_arrived(
                request_id,
                version,
                tenant=invocation.tenant_id,
                holds=hold_s > 0,
                spares_fresh=is_reset,
            )
        )
        hold = None
        if hold_s and not turn.done():
            self.held += 1
            loop = asyncio.get_running_loop()
            hold = loop.call_later(hold_s, self._hold_no_more, request_id)
        try:
            if not turn.done():
                async with asyncio.timeout(self._place_s):
                    await turn
            return turn.result()
        except TimeoutError:
            self._give_up(request_id, version, turn)
            raise self._full(invocation.function) from None
        except asyncio.CancelledError:
            self._give_up(request_id, version, turn)
            raise
        finally:
            if hold is not None:
                hold.cancel()
            self._turns.pop(request_id, None)

    def _full(self, function: str) -> Throttled:
        limit = self._state.max_instances
        return Throttled(
            f"no instance of {function!r} became free within {self._place_s:g} s, nor a"
            f" place to start one in: the machine has {limit} instances at most, and"
            f" starts {self._state.max_starting} at once,"
            f" {self._state.max_starting_of_tenant} of them for one tenant. Nothing"
            " ran; send it again later, or have fewer at once",
            reason="ConcurrentInvocationLimitExceeded",
            limit=limit,
            retry_after_s=RETRY_AFTER_S,
        )

    def _give_up(
        self, invocation: str, version: str, turn: asyncio.Future[Assign | None]
    ) -> None:
        """Give back what a cancelled invocation was just given, if anything."""
        if not turn.done() or turn.cancelled():
            self._state.invocation_left(invocation)
        elif (assigned := turn.result()) is None:
            self._act(self._state.start_ended(version, None))
        else:
            self._act(self._state.instance_freed(assigned.instance))

    async def _start(
        self,
        function: Function,
        revision: Revision,
        version: str,
        *,
        ahead: bool = False,
    ) -> int | None:
        number = next(self._numbers)
        wanted, there = self._state.kept_of(version)
        try:
            instance = await self._machine.start(
                function,
                revision,
                on_death=lambda: self._note_death(number),
                is_ahead=ahead,
                is_kept=ahead and there < wanted,
            )
        except BaseException:
            self._act(self._state.start_ended(version, None, ahead=ahead))
            raise
        if instance is None:
            self._act(self._state.start_ended(version, None, ahead=ahead))
            return None
        self._instances[number] = _Live(instance, revision.id, version)
        if ahead:
            self._fresh.add(number)
        self._act(self._state.start_ended(version, number, ahead=ahead))
        return number

    def _note_death(self, number: int) -> None:
        live = self._instances.pop(number, None)
        if live is None:
            return
        was_used = number not in self._fresh
        self._fresh.discard(number)
        self._act(self._state.instance_died(number, was_used=was_used))
        self.provisions.note_progress(live.revision)

    def _act(self, decisions: list[Decision]) -> None:
        if decisions:
            self._do(decisions)
        self._refill_later()

    def _do(self, decisions: list[Decision]) -> None:
        todo = deque(decisions)
        while todo:
            match todo.popleft():
                # A turn may have been cancelled a moment ago, and its task not have
                # run since: what it is given goes back at once.
                case Assign(invocation=invocation) as assigned:
                    if self._turns[invocation].done():
                        todo += self._state.instance_freed(assigned.instance)
                    else:
                        self._turns[invocation].set_result(assigned)
                case Start(invocation=invocation, version=version):
                    if self._turns[invocation].done():
                        todo += self._state.start_ended(version, None)
                    else:
                        self._turns[invocation].set_result(None)
                case StartAhead(version=version):
                    self._aside(self._start_ahead(version))
                case Retire(instance=number):
                    self._fresh.discard(number)
                    if (live := self._instances.pop(number, None)) is not None:
                        live.instance.stop()

    def retire_idle(self, *, since: float) -> int:
        """See `Upkeep`."""
        return self.upkeep.retire_idle(since=since)

    def _find(self, number: int) -> Instance | None:
        live = self._instances.get(number)
        return live.instance if live is not None else None

    def _retire(self, numbers: list[int]) -> None:
        for number in numbers:
            live = self._instances.get(number)
            self._let_go(number, live.instance if live is not None else None)


def _version(revision: Revision, invocation: Invocation) -> str:
    """What an instance can be lent to. An id has no space, so no key is mistaken."""
    if not invocation.isolation_key:
        return revision.id
    return f"{revision.id} {invocation.isolation_key}"
