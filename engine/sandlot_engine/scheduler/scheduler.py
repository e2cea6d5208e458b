"""Lends instances to invocations, as `ClusterState` decides, and runs them."""

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError, Throttled, Unavailable
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, Run
from sandlot_engine.scheduler.ports import Instance, Lendable, Machine
from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
    StartAhead,
)

MAX_INSTANCES = 3_000
"""Live on one machine."""

MAX_STARTING = 8
"""Being started at once."""

MAX_STARTING_OF_TENANT = MAX_STARTING // 2
"""Of those, one tenant's: its starts may hang, and others must go on."""

KEPT_SHARE = 2
"""Of those that may live, the part divided by this may be kept ahead: others must find
room."""

MAX_FAILED_STARTS = 2
"""For one invocation: what was lost under us deserves a second try."""

IDLE_S = 300.0
"""How long an instance stays without an invocation."""

PLACE_S = 10.0
"""How long an invocation waits for an instance, or for a place to start one."""

RETRY_AFTER_S = 5.0
"""What a caller is told who waited for that in vain."""

INIT_AHEAD_S = 130.0
"""What AWS Lambda gives an init that nobody waits for, at least."""

PROVISION_S = INIT_AHEAD_S + 20.0
"""How long `provision` waits for what it asked for; it is tried for longer."""

PROVISION_AGAIN_S = 10.0
"""How long nothing is started ahead of a revision after that has failed."""

_SWEEP_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Live:
    instance: Instance
    revision: str
    version: str


@dataclass(eq=False, slots=True)
class _Kept:
    """A revision of which some instances are kept."""

    function: Function
    revision: Revision
    count: int
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """All of them are initialised, or one could not be."""

    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Lent:
    number: int
    instance: Instance
    is_new: bool


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
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._state = state
        self._group = group
        self._again_s = again_s
        self._idle_s = idle_s
        self._place_s = place_s
        self._numbers = itertools.count(1)
        self._instances: dict[int, _Live] = {}
        # What a waiting invocation is told: an instance, or to start one itself.
        self._turns: dict[str, asyncio.Future[int | None]] = {}
        # By revision: invocations that are waiting or running, and who waits for
        # the last of them.
        self._running: Counter[str] = Counter()
        # By revision: what is kept of them. Nobody has used those that are fresh.
        self._kept: dict[str, _Kept] = {}
        self._fresh: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
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
    ) -> AsyncIterator["Scheduler"]:
        """A scheduler that retires what has been idle for `idle_s`. What may be kept
        follows from `max_instances`, unless it is given."""
        state = ClusterState(
            max_instances=max_instances,
            max_starting=max_starting,
            max_starting_of_tenant=max_starting_of_tenant,
            max_kept=max_instances // KEPT_SHARE if max_kept is None else max_kept,
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
            )
            sweeper = scheduler._aside(scheduler._sweep())
            try:
                yield scheduler
            finally:
                sweeper.cancel()
                scheduler._keep_nothing()

    @property
    def instances(self) -> int:
        return len(self._instances)

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
        try:
            run = await self._run(function, revision, invocation, note_cut)
            if run.ended is Ended.INIT_TIMED_OUT:
                # As on Lambda: the init is run again, now within the function's
                # timeout.
                run = await self._run(
                    function, revision, invocation, note_cut, init_counts=True
                )
            return run
        finally:
            self._note_end(revision.id)

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
            async with self._lend(function, revision, invocation) as lent:
                began = self._clock.monotonic()
                wait_s = began - invocation.arrived
                try:
                    return await lent.instance.run(
                        function, invocation, wait_s=wait_s, init_counts=init_counts
                    )
                except asyncio.CancelledError:
                    note_cut(self._clock.monotonic() - began)
                    raise
                except Unavailable:
                    # An idle one may end at any time, in this very moment, too. The
                    # work did not start, and there are only so many idle ones.
                    if lent.is_new:
                        raise

    async def drain(self, revision: str) -> None:
        """Destroy a revision's idle instances, and the others when they have answered.

        For a revision that gets no new invocations. Every one has a timeout, so this
        ends; cancel it to wait no longer.
        """
        self._keep_no_more(revision)
        self._retire(self._state.initialising_of(revision))
        self._retire(self._idle_of(revision))
        if self._running[revision]:
            await self._drained.setdefault(revision, asyncio.Event()).wait()
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
        after `PROVISION_S`. What has failed is tried again.
        """
        if not count:
            self._keep_no_more(revision.id)
            return 0
        kept = self._kept.get(revision.id)
        if kept is None:
            kept = self._kept[revision.id] = _Kept(function, revision, count)
            kept.keeper = self._aside(self._keep(kept))
        kept.count = count
        if self._state.kept_of(revision.id)[0]:
            self._act(self._state.keep(revision.id, count, tenant=function.tenant_id))
        self._note_progress(kept)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROVISION_S):
                await kept.settled.wait()
        return min(count, self.provisioned(revision.id))

    def provisioned(self, revision: str) -> int:
        """How many of those that are kept of a revision are there now, and initialised.
        Never waits."""
        return min(self._state.kept_of(revision))

    def _keep_no_more(self, revision: str) -> None:
        kept = self._kept.pop(revision, None)
        if kept is not None:
            tenant = kept.function.tenant_id
            self._act(self._state.keep(revision, 0, tenant=tenant))
            kept.settled.set()
            if kept.keeper is not None:
                kept.keeper.cancel()

    def _keep_nothing(self) -> None:
        for revision in tuple(self._kept):
            self._keep_no_more(revision)
        for task in self._tasks:
            task.cancel()

    async def _keep(self, kept: _Kept) -> None:
        """Have them started, and again after that has failed. Deaths of those that
        served are made good by the state."""
        revision, tenant = kept.revision.id, kept.function.tenant_id
        while True:
            kept.stalled.clear()
            try:
                if not self._machine.is_ready(kept.function, kept.revision):
                    # First, as for invocations: see `_take`.
                    await self._machine.make_ready(kept.function, kept.revision)
            except SandlotError as error:
                _log.warning(
                    "nothing is started ahead: %s", error.message, extra=_ids(kept)
                )
                kept.settled.set()
            else:
                self._act(self._state.keep(revision, kept.count, tenant=tenant))
                self._note_progress(kept)
                await kept.stalled.wait()
            await asyncio.sleep(self._again_s)

    async def _start_ahead(self, revision: str) -> None:
        kept = self._kept.get(revision)
        if kept is None:
            # It was given up between the decision and now.
            self._act(self._state.start_ended(revision, None, ahead=True))
            return
        try:
            number = await self._start(
                kept.function, kept.revision, revision, ahead=True
            )
        except SandlotError as error:
            _log.warning("not started ahead: %s", error.message, extra=_ids(kept))
        else:
            if number is not None:
                await self._initialise(number)
        self._note_progress(kept)

    async def _initialise(self, number: int) -> None:
        """Until it is initialised nobody is given it; its place to start in is free."""
        live = self._instances.get(number)
        if live is None:
            return
        if await live.instance.wait_ready(INIT_AHEAD_S):
            self._act(self._state.instance_freed(number))
        else:
            self._note_death(number)
            live.instance.stop()

    def _note_progress(self, kept: _Kept) -> None:
        """To be told whenever one was started, or could not be, or died unused."""
        wanted, ready = self._state.kept_of(kept.revision.id)
        if self._state.is_stalled(kept.revision.id):
            kept.stalled.set()
            kept.settled.set()
        elif wanted and ready >= wanted:
            kept.settled.set()
        else:
            kept.settled.clear()

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

    @asynccontextmanager
    async def _lend(
        self, function: Function, revision: Revision, invocation: Invocation
    ) -> AsyncIterator[_Lent]:
        """Lend an instance for one invocation, an idle one if there is one.

        Only a block that ends with the instance usable gives it back. After an
        error or a cancellation nobody knows what the tenant's code is still doing
        in there, so the instance is destroyed.
        """
        lent = await self._take(function, revision, invocation)
        try:
            yield lent
        finally:
            if lent.instance.is_usable:
                self._act(self._state.instance_freed(lent.number))
            else:
                self._let_go(lent.number, lent.instance)

    async def _take(
        self, function: Function, revision: Revision, invocation: Invocation
    ) -> _Lent:
        version = _version(revision, invocation)
        failed_starts = 0
        while True:
            if not self._machine.is_ready(function, revision):
                # Before we ask for a place to start in: the places are everybody's,
                # and an import takes as long as its tenant likes.
                await self._machine.make_ready(function, revision)
            number = await self._wait_turn(invocation, version)
            if number is None:
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
            live = self._instances.get(number)
            self._fresh.discard(number)
            if live is not None and live.instance.is_usable:
                return _Lent(number, live.instance, is_new=False)
            # An idle instance can end by itself at any time, and between an
            # assignment and its invocation's turn: then we ask for another.
            self._let_go(number, live.instance if live is not None else None)

    def _let_go(self, number: int, instance: Instance | None) -> None:
        self._fresh.discard(number)
        self._act(self._state.instance_died(number))
        self._instances.pop(number, None)
        if instance is not None:
            instance.stop()

    async def _wait_turn(self, invocation: Invocation, version: str) -> int | None:
        """An instance's number, or None: start one, a place is kept for it.

        Raises `Throttled` where neither is to be had within `place_s`.
        """
        request_id = invocation.request_id
        turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._turns[request_id] = turn
        self._act(
            self._state.invocation_arrived(
                request_id, version, tenant=invocation.tenant_id
            )
        )
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
        self, invocation: str, version: str, turn: asyncio.Future[int | None]
    ) -> None:
        """Give back what a cancelled invocation was just given, if anything."""
        if not turn.done() or turn.cancelled():
            self._state.invocation_left(invocation)
        elif (number := turn.result()) is None:
            self._act(self._state.start_ended(version, None))
        else:
            self._act(self._state.instance_freed(number))

    async def _start(
        self,
        function: Function,
        revision: Revision,
        version: str,
        *,
        ahead: bool = False,
    ) -> int | None:
        number = next(self._numbers)
        try:
            instance = await self._machine.start(
                function, revision, on_death=lambda: self._note_death(number)
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
        if (kept := self._kept.get(live.revision)) is not None:
            self._note_progress(kept)

    def _act(self, decisions: list[Decision]) -> None:
        todo = deque(decisions)
        while todo:
            match todo.popleft():
                # A turn may have been cancelled a moment ago, and its task not have
                # run since: what it is given goes back at once.
                case Assign(invocation=invocation, instance=number):
                    if self._turns[invocation].done():
                        todo += self._state.instance_freed(number)
                    else:
                        self._turns[invocation].set_result(number)
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

    async def _sweep(self) -> None:
        """Retire what has been idle too long."""
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._idle_s))
            self.retire_idle(since=self._clock.monotonic() - self._idle_s)

    def retire_idle(self, *, since: float) -> int:
        """Retire every instance that has been idle since before `since` and is not
        kept; how many."""
        stale = [
            number
            for number, live in self._instances.items()
            if live.instance.is_usable and live.instance.idle_since <= since
        ]
        count = 0
        for number in stale:
            # Asked one by one: each that goes leaves one less to spare.
            if self._state.can_spare(number):
                self._retire([number])
                count += 1
        return count

    def _retire(self, numbers: list[int]) -> None:
        for number in numbers:
            live = self._instances.get(number)
            self._let_go(number, live.instance if live is not None else None)


def _ids(kept: _Kept) -> dict[str, str]:
    return {"tenant_id": kept.function.tenant_id, "function": kept.function.name}


def _version(revision: Revision, invocation: Invocation) -> str:
    """What an instance can be lent to. An id has no space, so no key is mistaken."""
    if not invocation.isolation_key:
        return revision.id
    return f"{revision.id} {invocation.isolation_key}"
