"""Lends instances to invocations, as `ClusterState` decides, and runs them."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Unavailable
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, Run
from sandlot_engine.scheduler.ports import Instance, Machine
from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
)

MAX_INSTANCES = 3_000
"""Live on one machine."""

MAX_STARTING = 8
"""Being started at once."""

MAX_FAILED_STARTS = 2
"""For one invocation: what was lost under us deserves a second try."""

IDLE_S = 300.0
"""How long an instance stays without an invocation."""

_SWEEP_S = 5.0


class Scheduler:
    """Satisfies `invocation.ports.Runner`. Owns every instance that it has started."""

    def __init__(
        self, machine: Machine, *, clock: Clock, state: ClusterState, idle_s: float
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._state = state
        self._idle_s = idle_s
        self._numbers = itertools.count(1)
        self._instances: dict[int, Instance] = {}
        # What a waiting invocation is told: an instance, or to start one itself.
        self._turns: dict[str, asyncio.Future[int | None]] = {}
        # By version: invocations that are waiting or running, and who waits for
        # the last of them.
        self._running: Counter[str] = Counter()
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
        idle_s: float = IDLE_S,
    ) -> AsyncIterator["Scheduler"]:
        """A scheduler that retires what has been idle for `idle_s`."""
        state = ClusterState(max_instances=max_instances, max_starting=max_starting)
        scheduler = cls(machine, clock=clock, state=state, idle_s=idle_s)
        async with asyncio.TaskGroup() as group:
            sweeper = group.create_task(scheduler._sweep())
            try:
                yield scheduler
            finally:
                sweeper.cancel()

    @property
    def instances(self) -> int:
        return len(self._instances)

    async def run(self, function: Function, invocation: Invocation) -> Run:
        """See `invocation.ports.Runner`."""
        revision = function.serving
        assert revision is not None, "the invoker resolved it"  # noqa: S101
        run = await self._run(function, revision, invocation)
        if run.ended is Ended.INIT_TIMED_OUT:
            # As on Lambda: the init is run again, now within the function's timeout.
            run = await self._run(function, revision, invocation, init_counts=True)
        return run

    async def _run(
        self,
        function: Function,
        revision: Revision,
        invocation: Invocation,
        *,
        init_counts: bool = False,
    ) -> Run:
        self._running[revision.id] += 1
        try:
            async with self._lend(function, revision, invocation) as instance:
                wait_s = self._clock.monotonic() - invocation.arrived
                return await instance.run(
                    function, invocation, wait_s=wait_s, init_counts=init_counts
                )
        finally:
            self._note_end(revision.id)

    async def drain(self, version: str) -> None:
        """Destroy a version's idle instances, and the others when they have answered.

        For a version that gets no new invocations. Every one has a timeout, so this
        ends; cancel it to wait no longer.
        """
        self._retire(self._state.idle_of(version))
        if self._running[version]:
            await self._drained.setdefault(version, asyncio.Event()).wait()
            self._retire(self._state.idle_of(version))

    def _note_end(self, version: str) -> None:
        self._running[version] -= 1
        if not self._running[version]:
            del self._running[version]
            if (drained := self._drained.pop(version, None)) is not None:
                drained.set()

    @asynccontextmanager
    async def _lend(
        self, function: Function, revision: Revision, invocation: Invocation
    ) -> AsyncIterator[Instance]:
        """Lend an instance for one invocation, an idle one if there is one.

        Only a block that ends with the instance usable gives it back. After an
        error or a cancellation nobody knows what the tenant's code is still doing
        in there, so the instance is destroyed.
        """
        number, instance = await self._take(function, revision, invocation)
        try:
            yield instance
        finally:
            if instance.is_usable:
                self._act(self._state.instance_freed(number))
            else:
                self._let_go(number, instance)

    async def _take(
        self, function: Function, revision: Revision, invocation: Invocation
    ) -> tuple[int, Instance]:
        failed_starts = 0
        while True:
            if not self._machine.is_ready(function, revision):
                # Before we ask for a place to start in: the places are everybody's,
                # and an import takes as long as its tenant likes.
                await self._machine.make_ready(function, revision)
            number = await self._wait_turn(invocation.request_id, revision.id)
            if number is None:
                if (number := await self._start(function, revision)) is not None:
                    return number, self._instances[number]
                failed_starts += 1
                if failed_starts == MAX_FAILED_STARTS:
                    raise Unavailable(
                        f"the zygote of {function.name!r} ended {failed_starts} times"
                        " before it had forked an instance"
                    )
                continue
            instance = self._instances.get(number)
            if instance is not None and instance.is_usable:
                return number, instance
            # An idle instance can end by itself at any time, and between an
            # assignment and its invocation's turn: then we ask for another.
            self._let_go(number, instance)

    def _let_go(self, number: int, instance: Instance | None) -> None:
        self._act(self._state.instance_died(number))
        self._instances.pop(number, None)
        if instance is not None:
            instance.stop()

    async def _wait_turn(self, invocation: str, version: str) -> int | None:
        """An instance's number, or None: start one, a place is kept for it."""
        turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._turns[invocation] = turn
        self._act(self._state.invocation_arrived(invocation, version))
        try:
            return await turn
        except asyncio.CancelledError:
            self._give_up(invocation, version, turn)
            raise
        finally:
            self._turns.pop(invocation, None)

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

    async def _start(self, function: Function, revision: Revision) -> int | None:
        number = next(self._numbers)
        try:
            instance = await self._machine.start(
                function, revision, on_death=lambda: self._note_death(number)
            )
        except BaseException:
            self._act(self._state.start_ended(revision.id, None))
            raise
        if instance is None:
            self._act(self._state.start_ended(revision.id, None))
            return None
        self._instances[number] = instance
        self._act(self._state.start_ended(revision.id, number))
        return number

    def _note_death(self, number: int) -> None:
        if self._instances.pop(number, None) is not None:
            self._act(self._state.instance_died(number))

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
                case Retire(instance=number):
                    if (instance := self._instances.pop(number, None)) is not None:
                        instance.stop()

    async def _sweep(self) -> None:
        """Retire what has been idle too long."""
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._idle_s))
            self.retire_idle(since=self._clock.monotonic() - self._idle_s)

    def retire_idle(self, *, since: float) -> int:
        """Retire every instance that has been idle since before `since`; how many."""
        stale = [
            number
            for number, instance in self._instances.items()
            if instance.is_usable and instance.idle_since <= since
        ]
        self._retire(stale)
        return len(stale)

    def _retire(self, numbers: list[int]) -> None:
        for number in numbers:
            self._let_go(number, self._instances.get(number))
