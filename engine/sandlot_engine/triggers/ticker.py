"""Fires schedules: waits until something is due, sends its event, notes that it did.

The event goes first and the note after. So a crash between the two sends it again,
under the same key, which whoever takes events knows: a due time has one event.
"""

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError
from sandlot_engine.model.trigger import Progress, Trigger, TriggerKind
from sandlot_engine.triggers import plan
from sandlot_engine.triggers.events import scheduled_event
from sandlot_engine.triggers.keeping import Triggers
from sandlot_engine.triggers.sending import Sender, may_be_another_time

LONGEST_WAIT_S = 30.0
"""After which the clock is looked at anew: somebody may have set it."""

TENANTS_AT_ONCE = 32
"""Whose events are sent at the same time. One tenant's go one after another."""

PUT_BACK = timedelta(seconds=60)
"""Where the clock shows so much less than before, all schedules are looked at anew: the
times that they wait for may be years away now."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
"""Before an event that nobody took is offered again; doubled each time."""

_MOST_OUT_OF_DATE = 64
_SWEPT_FROM = 1_024
"""So many schedules to look at before it is worth while to see which are gone."""
_log = logging.getLogger(__name__)


Name = tuple[str, str, str]
"""Of a trigger: tenant, group, name."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An event that was not taken."""

    trigger_id: str
    due: datetime
    attempts: int

    def is_of(self, trigger: Trigger, progress: Progress) -> bool:
        """Or else of one that had the name before, or begins anew later."""
        return self.trigger_id == trigger.id and self.due > progress.through


class Ticker:
    """All tenants' schedules. `running` ticks by itself; tests call `tick`."""

    def __init__(
        self, triggers: Triggers, sender: Sender, *, clock: Clock, region: str
    ) -> None:
        self._triggers = triggers
        self._sender = sender
        self._clock = clock
        self._region = region
        self._wakes: dict[Name, datetime] = {}
        """When to look at which schedule again."""

        self._heap: list[tuple[datetime, Name]] = []
        """The same by time; what `_wakes` has otherwise is out of date."""

        self._sweep_at = _SWEPT_FROM
        self._latest = clock.now()
        self._pending: dict[Name, _Pending] = {}
        self._is_changed = asyncio.Event()
        self.fired = 0
        """Events that were taken."""

        self.given_up = 0
        """Events that nobody took."""

        self.missed = 0
        """Due times that passed without one."""

    def __repr__(self) -> str:
        return f"<Ticker {len(self._wakes)} to look at, {self.fired} fired>"

    @property
    def pending(self) -> int:
        """Events that are offered again."""
        return len(self._pending)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.begin()
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(self._run())
            try:
                yield
            finally:
                ticking.cancel()

    def begin(self) -> None:
        """Look at everything at the next tick, and hear of changes from now on."""
        self._look_at_everything()
        self._triggers.heard.append(self._hear)

    def _look_at_everything(self) -> None:
        for trigger in self._triggers.of_kind(TriggerKind.SCHEDULE):
            self._look_at(trigger, self._clock.now())

    def _hear(self, trigger: Trigger) -> None:
        if trigger.kind is TriggerKind.SCHEDULE:
            self._look_at(trigger, self._clock.now())

    def _look_at(self, trigger: Trigger, at: datetime) -> None:
        name = _name(trigger)
        self._wakes[name] = at
        heapq.heappush(self._heap, (at, name))
        if len(self._wakes) > self._sweep_at:
            self._sweep()
        if len(self._heap) > 2 * len(self._wakes) + _MOST_OUT_OF_DATE:
            self._heap = [(at, name) for name, at in self._wakes.items()]
            heapq.heapify(self._heap)
        self._is_changed.set()

    def _sweep(self) -> None:
        """Forget what went with its function, which tells nobody."""
        for tenant_id, group, name in list(self._wakes):
            if self._triggers.find(tenant_id, name, group) is None:
                del self._wakes[tenant_id, group, name]
        self._sweep_at = max(2 * len(self._wakes), _SWEPT_FROM)

    async def _run(self) -> None:
        while True:
            self._is_changed.clear()
            await self.tick()
            await self._wait()

    async def _wait(self) -> None:
        wait_s = LONGEST_WAIT_S
        if self._heap:
            left = self._heap[0][0] - self._clock.now()
            wait_s = min(wait_s, max(left.total_seconds(), 0.0))
        try:
            async with asyncio.timeout(wait_s):
                await self._is_changed.wait()
        except TimeoutError:
            pass  # the usual end of it

    async def tick(self) -> None:
        """Send all that is due now; return when it was taken, or is to be offered
        again."""
        while names := self._due_names():
            due: defaultdict[str, list[Name]] = defaultdict(list)
            for name in names:
                due[name[0]].append(name)
            turns = asyncio.Semaphore(TENANTS_AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for of_tenant in due.values():
                    tasks.create_task(self._look_at_all(of_tenant, turns))

    def _due_names(self) -> list[Name]:
        """What is to be looked at now; then it is no more."""
        now, names = self._clock.now(), list[Name]()
        if self._latest - now > PUT_BACK:
            _log.warning("the clock was set back: all schedules are looked at anew")
            self._look_at_everything()
        self._latest = now
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._wakes.get(name) == at:
                del self._wakes[name]
                names.append(name)
        return names

    async def _look_at_all(self, names: list[Name], turns: asyncio.Semaphore) -> None:
        async with turns:
            for name in names:
                await self._look(name)

    async def _look(self, of: Name) -> None:
        tenant_id, group, name = of
        trigger = self._triggers.find(tenant_id, name, group)
        if trigger is None or trigger.schedule is None or not trigger.is_enabled:
            self._pending.pop(of, None)
            return
        try:
            await self._advance(trigger)
        except Exception as error:  # noqa: BLE001 - the others' schedules go on
            _log.error("a schedule failed", exc_info=error, extra=_ids(trigger))
            self._look_at_later(trigger, LONGEST_PAUSE_S)

    async def _advance(self, trigger: Trigger) -> None:
        """One step of one schedule."""
        assert trigger.schedule is not None  # noqa: S101 - see `_look`
        progress = self._triggers.progress(trigger)
        pending = self._pending.pop(_name(trigger), None)
        if pending is not None and pending.is_of(trigger, progress):
            await self._send(trigger, progress, pending.due, pending.attempts)
            return
        step = plan.step(
            trigger.schedule,
            plan.due_of(trigger.schedule),
            progress,
            seed=trigger.id,
            now=self._clock.now(),
        )
        self.missed += step.missed
        if step.through != progress.through or step.missed:
            sets_back = step.through < progress.through
            progress = replace(
                progress, through=step.through, missed=progress.missed + step.missed
            )
            await self._triggers.settle(trigger, progress, sets_back=sets_back)
        if step.fire is not None:
            await self._send(trigger, progress, step.fire, 0)
        elif step.wake is not None:
            self._look_at(trigger, step.wake)
        elif trigger.schedule.is_deleted_after:
            await self._triggers.delete_if_same(trigger)

    async def _send(
        self, trigger: Trigger, progress: Progress, due: datetime, attempts: int
    ) -> None:
        try:
            await self._submit(trigger, due, attempts + 1)
        except SandlotError as error:
            if not (
                may_be_another_time(error)
                and self._is_worth_another(trigger, due, attempts)
            ):
                await self._give_up(trigger, progress, due, error)
                return
            self._pending[_name(trigger)] = _Pending(trigger.id, due, attempts + 1)
            pause_s = min(FIRST_PAUSE_S * 2**attempts, LONGEST_PAUSE_S)
            self._look_at_later(trigger, pause_s)
        else:
            self.fired += 1
            done = replace(
                progress, through=due, fired=progress.fired + 1, last_due=due
            )
            await self._settle(trigger, replace(done, last_error=""))

    async def _submit(self, trigger: Trigger, due: datetime, attempt: int) -> None:
        once_key = plan.once_key(trigger, due)
        payload = scheduled_event(
            trigger,
            due,
            request_id=plan.request_id(once_key),
            region=self._region,
            attempt=attempt,
        )
        await self._sender.send(trigger, payload, once_key=once_key)

    def _is_worth_another(self, trigger: Trigger, due: datetime, attempts: int) -> bool:
        schedule = trigger.schedule
        assert schedule is not None  # noqa: S101 - see `_look`
        is_too_old = plan.is_too_old(schedule, due, now=self._clock.now())
        return not is_too_old and attempts < schedule.max_retries

    async def _give_up(
        self,
        trigger: Trigger,
        progress: Progress,
        due: datetime,
        error: SandlotError,
    ) -> None:
        self.given_up += 1
        _log.warning("an event was given up", exc_info=error, extra=_ids(trigger))
        done = replace(progress, through=due, missed=progress.missed + 1)
        await self._settle(trigger, replace(done, last_error=error.message[:1_000]))

    async def _settle(self, trigger: Trigger, progress: Progress) -> None:
        if await self._triggers.settle(trigger, progress):
            # What comes next is the next step's.
            self._look_at(trigger, self._clock.now())

    def _look_at_later(self, trigger: Trigger, after_s: float) -> None:
        self._look_at(trigger, self._clock.now() + timedelta(seconds=after_s))


def _name(trigger: Trigger) -> Name:
    return trigger.tenant_id, trigger.group, trigger.name


def _ids(trigger: Trigger) -> dict[str, str]:
    return {"tenant_id": trigger.tenant_id, "trigger": trigger.name}
