"""The dead-letter store: events that could not be run, or not be told of."""

import asyncio
from dataclasses import dataclass

from sandlot_engine.errors import NotFound, Throttled
from sandlot_engine.events import verdicts
from sandlot_engine.events.attempts import SettingsOf
from sandlot_engine.events.queue import EventQueue
from sandlot_engine.model.event import Delivery, Event, EventState
from sandlot_engine.store.event_ports import EventStore, Settled

MAX_AT_ONCE = 1_000
"""Events that one call redrives or purges."""

_DEAD = (EventState.DEAD,)


@dataclass(frozen=True, slots=True)
class Done:
    """How many, and whether there may be more."""

    count: int
    more: bool = False


class DeadLetters:
    """The dead letters of all tenants; each call is about one tenant's."""

    def __init__(
        self, store: EventStore, queue: EventQueue, settings_of: SettingsOf
    ) -> None:
        self._store = store
        self._queue = queue
        self._settings_of = settings_of
        self._turn = asyncio.Lock()
        """Or two redrives could run one event twice."""

    async def redrive(
        self, tenant_id: str, *, request_id: str = "", function: str = ""
    ) -> Done:
        """Run them again, as if they came now; tell of those that have succeeded.

        Raises `NotFound` for an event that is not dead, `Throttled` where the first of
        them has no room.
        """
        async with self._turn:
            found = await self._found(tenant_id, request_id, function)
            for count, event in enumerate(found):
                try:
                    self._queue.depths.check_room(tenant_id, event.size)
                except Throttled:
                    if not count:
                        raise
                    return Done(count, more=True)
                await self._redrive(event)
        return Done(len(found), more=len(found) == MAX_AT_ONCE)

    async def purge(
        self, tenant_id: str, *, request_id: str = "", function: str = ""
    ) -> Done:
        """Delete them. Raises `NotFound` for an event that is not dead."""
        async with self._turn:
            gone = await self._store.delete_events(
                tenant_id,
                states=_DEAD,
                function=function,
                request_id=request_id,
                limit=MAX_AT_ONCE,
            )
        if request_id and not gone:
            raise _not_dead(request_id)
        self._queue.note_deleted(gone)
        return Done(len(gone), more=len(gone) == MAX_AT_ONCE)

    async def _found(
        self, tenant_id: str, request_id: str, function: str
    ) -> list[Event]:
        if not request_id:
            return await self._store.list_events(
                tenant_id, function=function, states=_DEAD, limit=MAX_AT_ONCE
            )
        event = await self._store.get_event(tenant_id, request_id)
        if event is None or event.state is not EventState.DEAD:
            raise _not_dead(request_id)
        return [event]

    async def _redrive(self, event: Event) -> None:
        now = self._queue.time.now()
        again = verdicts.redriven(event, now=now)
        deliveries: tuple[Delivery, ...] = ()
        if again.ended is not None:
            deliveries = verdicts.deliveries_of(again, self._settings_of(again))
            if not deliveries:  # its destination was taken away since
                again = verdicts.told(again, left=0)
        settled = Settled(event=again, deliveries=deliveries)
        if await self._store.settle_event(settled):
            self._queue.note_redriven(event, settled)


def _not_dead(request_id: str) -> NotFound:
    return NotFound(
        f"There is no event {request_id} in the dead-letter store.",
        kind="event",
        name=request_id,
    )
