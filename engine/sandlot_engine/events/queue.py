"""The queue of events: kept on disk before anybody is told that they are, then run in
turn, and tried again, until they are over.

The store is the truth. What is in memory is only which events are next (`lanes`), how
many there are (`depths`), and those that run. An event that ran is kept as such
together with its record, in one transaction; where the engine dies before that, the
event runs again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from sandlot_engine.clock import Clock
from sandlot_engine.errors import NotFound, SandlotError, Stopping
from sandlot_engine.events import verdicts
from sandlot_engine.events.attempts import Attempt, Attempts, SettingsOf, Verdict
from sandlot_engine.events.depths import Depths
from sandlot_engine.events.keeping import Keeping
from sandlot_engine.events.lanes import Head, Key, Lanes, Start
from sandlot_engine.events.pauses import LONGEST_PAUSE_S
from sandlot_engine.events.pump import Pump
from sandlot_engine.events.steady import MAX_DRIFT_S, SteadyTime
from sandlot_engine.events.verdicts import RETRY_DELAYS_S
from sandlot_engine.model.event import Event, EventState
from sandlot_engine.model.invocation import Invocation
from sandlot_engine.store.event_ports import Depth, EventStore, Settled, Waiting

MAX_INTERRUPTED = 1_000
"""Interrupted events that are read at once at the start."""

_log = logging.getLogger(__name__)


class EventQueue:
    """An async context manager: entering takes up what is on disk; leaving refuses new
    events and lets what runs finish for `drain_s`. What waits is the next engine's.
    """

    def __init__(
        self,
        store: EventStore,
        attempt: Attempt,
        settings_of: SettingsOf,
        clock: Clock,
        *,
        delays_s: Sequence[float] = RETRY_DELAYS_S,
        drain_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.time = SteadyTime(clock)
        self.depths = Depths()
        self.counts: Counter[str] = Counter()
        """Since the start, by what was counted."""
        self.lanes = Lanes()
        self.all_lanes = [self.lanes]
        """Those that move when the clock is set."""
        self.found_deliveries: Callable[[Event, Sequence[str]], None] = _nobody
        """Told of an event that is over, and of the targets that are to be told."""
        self._store = store
        self._clock = clock
        self._drain_s = drain_s
        self._attempts = Attempts(
            store,
            attempt,
            settings_of,
            clock,
            self.time,
            self.counts,
            delays_s=delays_s,
            sleep=sleep,
        )
        self._is_open = False
        self._longest_s = max(*delays_s, LONGEST_PAUSE_S)
        self._pump = Pump(
            self.lanes,
            self.time,
            fetch=self._fetch,
            start=self._claim,
            tick=self.follow_clock,
            longest_s=self._longest_s,
        )
        self._keeping = Keeping(store, self.depths, self.time, self.counts)
        self._followers: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._shifted = timedelta()
        self._to_shift = timedelta()
        """What those on disk have not been moved by."""
        self._stack = AsyncExitStack()

    def __repr__(self) -> str:
        return (
            f"<EventQueue {self.depths.queued} waiting, {self.lanes.running} running>"
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._take_up()
            await stack.enter_async_context(self._keeping)
            await stack.enter_async_context(self._pump.running(drain_s=self._drain_s))
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        await self._stack.aclose()

    @property
    def followers(self) -> int:
        """Callers who wait for an event to be over."""
        return sum(map(len, self._followers.values()))

    def wake(self) -> None:
        """The time may be another than it was to be."""
        self._pump.wake()

    # --- new events -------------------------------------------------------------------

    async def enqueue(self, invocation: Invocation) -> None:
        """Take an event; it is on disk when this returns. One with the request id of
        another is that one.

        Raises `Throttled` where its tenant's queue is full, `Unavailable` where it
        surely was not kept, `Internal` where it may have been.
        """
        if not self._is_open:
            raise Stopping("the engine is stopping; send the event again later")
        tenant_id, size = invocation.tenant_id, len(invocation.payload)
        self.depths.check_room(tenant_id, size)
        self.depths.add(tenant_id, EventState.QUEUED, 1, size)
        # A caller that goes away must not leave an event that nobody knows of.
        putting = self._pump.spawn(self._put(invocation), has_caller=True)
        await asyncio.shield(putting)

    async def _put(self, invocation: Invocation) -> None:
        # The time is taken at the very moment at which the store is asked: whatever
        # moves all times for a clock that was set, is asked for before or after it.
        event = new_event(invocation, now=self.time.now())
        try:
            position = await self._store.put_event(event, invocation.payload)
        except BaseException:
            self.depths.add(event.tenant_id, EventState.QUEUED, -1, -event.size)
            raise
        if position is None:
            self.depths.add(event.tenant_id, EventState.QUEUED, -1, -event.size)
            self.counts["repeated"] += 1
            return
        self.note_put(replace(event, position=position))

    def note_put(self, event: Event) -> None:
        """An event is on disk, and counted, that was not before."""
        self.counts["accepted"] += 1
        # Due at once, whatever its own time says: the clock may have been set since.
        due = min(event.due, self.time.now()).timestamp()
        self.lanes.added(_key(event), Head(due, event.position, event.size))
        self.wake()

    def forget(self, tenant_id: str) -> None:
        """To be called after a tenant was deleted: its events went with it."""
        self.depths.forget(tenant_id)

    # --- what is on disk --------------------------------------------------------------

    async def _take_up(self) -> None:
        """Events of engines before this one; those that ran have been interrupted."""
        await self._follow_clock_since_last_engine()
        while found := await self._store.running_events(limit=MAX_INTERRUPTED):
            now = self.time.now()
            for event, claimed in found:
                again = verdicts.after_interruption(event, started=claimed, now=now)
                await self._store.settle_event(Settled(event=again))
                self.counts["interrupted"] += 1
        for depth in await self._store.event_depths():
            self.depths.add(depth.tenant_id, depth.state, depth.count, depth.size)
        for lane in await self._store.waiting_lanes():
            # Its first may seem to be due late because a clock was wrong: look at once.
            due = min(lane.first_due, self.time.now()).timestamp()
            self.lanes.found((lane.tenant_id, lane.name), due)

    async def _follow_clock_since_last_engine(self) -> None:
        """Something on disk is from the future: the clock was set back while there was
        no engine to see it. Else all that waits would wait for that time to come."""
        latest, now = await self._store.latest_time(), self.time.now()
        if latest is not None and (latest - now).total_seconds() > MAX_DRIFT_S:
            _log.warning("the clock was set back to before what is on disk")
            await self._store.shift_events(now - latest, now=now)

    async def _fetch(self, key: Key, limit: int) -> Sequence[Waiting]:
        return await self._store.waiting_events(*key, limit=limit)

    async def follow_clock(self) -> None:
        """Where the calendar was set, all that waits moves with it."""
        if jumped := self.time.jump():
            _log.warning("the clock was set by %.1f s", jumped.total_seconds())
            self._shifted += jumped
            self._to_shift += jumped
            for lanes in self.all_lanes:
                lanes.shifted(jumped.total_seconds())
        if not self._to_shift:
            return
        try:
            await self._store.shift_events(self._to_shift, now=self.time.now())
        except SandlotError as error:
            _log.error("due times could not be moved: %s", error.message)
        else:
            self._to_shift = timedelta()

    # --- attempts ---------------------------------------------------------------------

    async def _claim(self, starts: Sequence[Start]) -> None:
        positions = [start.head.position for start in starts]
        try:
            rows = await self._store.claim_events(positions, now=self.time.now())
        except SandlotError as error:
            _log.error("events could not be claimed: %s", error.message)
            for start in starts:
                self.lanes.refused(start.key, start.head.position, now=self._pump.now())
            self.wake()
            return
        claimed = {event.position: (event, payload) for event, payload in rows}
        for start in starts:
            found = claimed.get(start.head.position)
            if found is None:  # deleted meanwhile
                self.lanes.finished(start.key, start.head.position, has_run=False)
            else:
                self._pump.spawn(self._work(start.key, *found))
        self.wake()

    async def _work(self, key: Key, event: Event, payload: bytes) -> None:
        """One attempt, from the claim to what has become of it."""
        shifted = self._shifted
        verdict = await self._attempts.make(event, payload)
        settled = _shifted(verdict.settled, self._shifted - shifted)
        is_kept = await self._attempts.keep(settled)
        self._tell(key, event, replace(verdict, settled=settled), is_kept=is_kept)

    def _tell(
        self, key: Key, before: Event, verdict: Verdict, *, is_kept: bool
    ) -> None:
        """Everybody in memory, of what is on disk now."""
        event, position = verdict.settled.event, before.position
        if not is_kept:  # its tenant is gone
            self.depths.add(event.tenant_id, EventState.QUEUED, -1, -event.size)
            self.lanes.finished(key, position, has_run=verdict.has_run)
        elif event.state is not EventState.QUEUED:
            self.lanes.finished(key, position, has_run=verdict.has_run)
            self.note_changed(before, event)
        elif verdict.is_refused:
            self.counts["throttled"] += 1
            self.lanes.refused(key, position, now=self._pump.now())
        else:
            self.counts["retried"] += 1
            latest = self._pump.now() + self._longest_s
            due = min(event.due.timestamp(), latest)
            self.lanes.returned(key, position, due=due, has_run=verdict.has_run)
        if verdict.settled.deliveries:
            targets = [each.target for each in verdict.settled.deliveries]
            self.found_deliveries(event, targets)
        self._wake_followers(event)
        self.wake()

    def note_changed(self, before: Event, after: Event) -> None:
        """An event has left the queue, or gone from one final state to another."""
        self.depths.moved(before, after.state)
        if after.state.is_final:
            self.counts[after.state.value] += 1
        self._keeping.look_at(after.tenant_id)
        self._wake_followers(after)

    def note_redriven(self, before: Event, settled: Settled) -> None:
        """A dead event is not dead any more, and on disk as such."""
        event = settled.event
        self.counts["redriven"] += 1
        self.note_changed(before, event)
        if settled.deliveries:
            targets = [each.target for each in settled.deliveries]
            self.found_deliveries(event, targets)
        elif event.state is EventState.QUEUED:
            self.lanes.found(_key(event), event.due.timestamp())
        self.wake()

    def note_deleted(self, gone: Sequence[Depth]) -> None:
        """Events that were over are not there any more."""
        self._keeping.note_deleted(gone)

    # --- who asks -----------------------------------------------------------------

    async def get(self, tenant_id: str, request_id: str) -> Event:
        """Raises `NotFound`."""
        event = await self._store.get_event(tenant_id, request_id)
        if event is None:
            raise NotFound(
                f"There is no event {request_id}, or it was over too long ago.",
                kind="event",
                name=request_id,
            )
        return event

    async def wait(self, tenant_id: str, request_id: str, *, until: float) -> Event:
        """The event when it is over; or as it is at that time of the clock's
        `monotonic`. Raises `NotFound`."""
        key = tenant_id, request_id
        changed = asyncio.Event()
        self._followers.setdefault(key, set()).add(changed)
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.monotonic())):
                while not (event := await self.get(*key)).state.is_final:
                    await changed.wait()
                    changed.clear()
                return event
        except TimeoutError:
            return await self.get(*key)
        finally:
            self._followers[key].discard(changed)
            if not self._followers[key]:
                del self._followers[key]

    def _wake_followers(self, event: Event) -> None:
        for changed in self._followers.get((event.tenant_id, event.request_id), ()):
            changed.set()


def new_event(invocation: Invocation, *, now: datetime) -> Event:
    """What is kept of an invocation whose caller does not wait."""
    return Event(
        request_id=invocation.request_id,
        tenant_id=invocation.tenant_id,
        function=invocation.function,
        qualifier=invocation.qualifier,
        invoked_arn=invocation.invoked_arn,
        isolation_key=invocation.isolation_key,
        client_context=invocation.client_context,
        trace=invocation.trace,
        lineage=invocation.lineage,
        size=len(invocation.payload),
        accepted=now,
        due=now,
    )


def _shifted(settled: Settled, by: timedelta) -> Settled:
    """Where the clock was set while it ran, its own times move as all the others."""
    if not by:
        return settled
    event = settled.event
    return replace(settled, event=replace(event, accepted=event.accepted + by))


def _key(event: Event) -> Key:
    return event.tenant_id, event.function


def _nobody(_event: Event, _targets: Sequence[str]) -> None:
    pass
