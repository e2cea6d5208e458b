"""Tells destinations and dead-letter targets of events that are over.

What is to be told is on disk since the event left the queue, and stays there until it
is in its new place: a function's queue in the same transaction, an endpoint by its own
word. So everybody is told at least once, also over a crash.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self
from uuid import NAMESPACE_OID, uuid5

from sandlot_engine.errors import (
    Conflict,
    Fault,
    SandlotError,
    Throttled,
)
from sandlot_engine.events import verdicts
from sandlot_engine.events.endpoints import Untold
from sandlot_engine.events.lanes import Key, Lanes, Start
from sandlot_engine.events.lineage import continued
from sandlot_engine.events.pauses import LONGEST_PAUSE_S
from sandlot_engine.events.pump import Pump
from sandlot_engine.events.queue import EventQueue, new_event
from sandlot_engine.events.records import invocation_record
from sandlot_engine.model.event import DeliveryKind, Event, EventState
from sandlot_engine.model.invocation import Invocation, InvocationType
from sandlot_engine.model.target import BadTarget, Target, target_of
from sandlot_engine.store.event_ports import EventStore, Parcel, Waiting

MAX_OF_LANE = 4
"""Messages that one target is told at once."""

MAX_OF_TENANT = 8
MAX_AT_ONCE = 64

DRAIN_S = 5.0
"""How long a stop lets those that are under way end."""

_log = logging.getLogger(__name__)

Check = Callable[[Invocation], Awaitable[None]]
"""Raise where the function could not be invoked with that."""


class Tell(Protocol):
    """Of `Endpoints`: send a message. Raises `Untold` and `BadTarget`."""

    async def __call__(
        self, target: Target, parcel: Parcel, body: bytes, *, region: str
    ) -> None: ...


class Delivering:
    """An async context manager, within the queue's own."""

    def __init__(
        self,
        store: EventStore,
        queue: EventQueue,
        *,
        tell: Tell,
        check: Check,
        region: str,
    ) -> None:
        self._store = store
        self._queue = queue
        self._tell = tell
        self._check = check
        self._region = region
        self._lanes = Lanes(
            max_of_lane=MAX_OF_LANE,
            max_of_tenant=MAX_OF_TENANT,
            max_running=MAX_AT_ONCE,
        )
        self._pump = Pump(
            self._lanes,
            queue.time,
            fetch=self._fetch,
            start=self._start,
            tick=queue.follow_clock,
            longest_s=LONGEST_PAUSE_S,
        )
        self._stack = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Delivering {self._lanes!r}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            # From now on we are told; what was there before, we look for.
            self._queue.all_lanes.append(self._lanes)
            self._queue.found_deliveries = self._found_for
            for lane in await self._store.delivery_lanes():
                self._found(lane.tenant_id, lane.name)
            await stack.enter_async_context(self._pump.running(drain_s=DRAIN_S))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def wake(self) -> None:
        """The time may be another than it was to be."""
        self._pump.wake()

    def _found_for(self, event: Event, targets: Sequence[str]) -> None:
        for target in targets:
            self._found(event.tenant_id, target)
        self._pump.wake()

    def _found(self, tenant_id: str, target: str) -> None:
        self._lanes.found((tenant_id, target), self._pump.now())

    async def _fetch(self, key: Key, limit: int) -> Sequence[Waiting]:
        return await self._store.waiting_deliveries(*key, limit=limit)

    async def _start(self, starts: Sequence[Start]) -> None:
        for start in starts:
            self._pump.spawn(self._deliver(start.key, start.head.position))

    # --- one delivery -----------------------------------------------------------------

    async def _deliver(self, key: Key, delivery_id: int) -> None:
        try:
            due = await self._try(delivery_id)
        except SandlotError as error:
            _log.error("a delivery could not be kept: %s", error.message)
            self._lanes.refused(key, delivery_id, now=self._pump.now())
        else:
            if due is None:
                self._lanes.finished(key, delivery_id)
            else:
                self._lanes.returned(key, delivery_id, due=due, has_run=False)
        self._pump.wake()

    async def _try(self, delivery_id: int) -> float | None:
        """When it is tried again; None where it is done with. Raises what the store
        raises."""
        parcel = await self._store.get_parcel(delivery_id)
        if parcel is None:
            return None
        delivery = parcel.delivery
        try:
            target = target_of(delivery.target, tenant_id=delivery.tenant_id)
            if target.service == "lambda":
                return await self._invoke(parcel, target)
            await self._tell(target, parcel, self._body(parcel), region=self._region)
        except BadTarget as error:
            await self._give_up(parcel, str(error))
            return None
        except Untold as error:
            return await self._put_off(parcel, str(error))
        except SandlotError:
            raise
        except Exception as error:  # noqa: BLE001 - it is tried again, whatever it is
            _log.exception("a delivery failed for an unforeseen reason")
            return await self._put_off(parcel, type(error).__name__)
        await self._done(parcel)
        return None

    def _body(self, parcel: Parcel) -> bytes:
        if parcel.delivery.kind is DeliveryKind.DEAD_LETTER:
            return parcel.payload
        return invocation_record(
            parcel.event, parcel.payload, parcel.response, region=self._region
        )

    async def _invoke(self, parcel: Parcel, target: Target) -> float | None:
        """Another function: the record becomes an event of its own."""
        if parcel.delivery.kind is DeliveryKind.DEAD_LETTER:
            raise BadTarget("a function cannot be a dead-letter target")
        invocation = self._invocation(parcel, target)
        try:
            await self._check(invocation)
            self._queue.depths.check_room(invocation.tenant_id, len(invocation.payload))
        except (Throttled, Conflict, Fault) as error:
            return await self._put_off(parcel, error.message)
        except SandlotError as error:
            raise BadTarget(error.message) from error
        event = new_event(invocation, now=self._queue.time.now())
        await self._done(parcel, event=event, payload=invocation.payload)
        return None

    def _invocation(self, parcel: Parcel, target: Target) -> Invocation:
        event = parcel.event
        name = f"{event.tenant_id}/{event.position}/{parcel.delivery.id}"
        return Invocation(
            # The same for each try to tell it.
            request_id=str(uuid5(NAMESPACE_OID, name)),
            tenant_id=event.tenant_id,
            function=target.name,
            qualifier=target.qualifier,
            invoked_arn=target.arn,
            trace=event.trace,
            lineage=continued(event.lineage, event.tenant_id, event.function),
            payload=self._body(parcel),
            type=InvocationType.EVENT,
            arrived=0.0,
        )

    # --- how it ended -----------------------------------------------------------------

    async def _done(
        self, parcel: Parcel, *, event: Event | None = None, payload: bytes = b""
    ) -> None:
        change = partial(_told, undelivered="")
        changed, position = await self._store.settle_delivery(
            parcel.delivery, change, event=event, payload=payload
        )
        self._queue.counts["delivered"] += 1
        self._tell_queue(parcel.event, changed)
        if event is not None and position is not None:
            self._queue.depths.add(event.tenant_id, EventState.QUEUED, 1, event.size)
            self._queue.note_put(replace(event, position=position))

    async def _put_off(self, parcel: Parcel, why: str) -> float | None:
        later = verdicts.delivery_failed(
            parcel.delivery, why, now=self._queue.time.now()
        )
        if later is None:
            await self._give_up(parcel, why)
            return None
        await self._store.put_off_delivery(later)
        self._queue.counts["delivery_retried"] += 1
        return later.due.timestamp()

    async def _give_up(self, parcel: Parcel, why: str) -> None:
        what = parcel.delivery.kind.value
        undelivered = f"{what} {parcel.delivery.target}: {why}"
        changed, _ = await self._store.settle_delivery(
            parcel.delivery, partial(_told, undelivered=undelivered)
        )
        # AWS's two metrics, by kind: DestinationDeliveryFailures, DeadLetterErrors.
        self._queue.counts[f"undelivered_{what.replace('-', '_')}"] += 1
        self._tell_queue(parcel.event, changed)

    def _tell_queue(self, before: Event, after: Event | None) -> None:
        if after is not None:
            self._queue.note_changed(before, after)


def _told(event: Event, left: int, *, undelivered: str) -> Event:
    return verdicts.told(event, left=left, undelivered=undelivered)
