"""`EventService`: what has become of events, and the dead-letter store."""

import asyncio
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from sandlot.v1 import events_pb2 as wire
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.events.verdicts import MAX_AGE_S, MAX_RETRIES
from sandlot_engine.gateway.paging import page_size, position
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import timestamp
from sandlot_engine.model.event import Attempt, Event, EventState
from sandlot_engine.model.event_config import EventConfig
from sandlot_engine.model.function import LATEST, function_arn

MAX_WAIT_S = 60.0
"""How long one call waits for an event to be over; a client calls again."""

_STATES = {
    EventState.QUEUED: wire.EVENT_STATE_QUEUED,
    EventState.RUNNING: wire.EVENT_STATE_RUNNING,
    EventState.DELIVERING: wire.EVENT_STATE_DELIVERING,
    EventState.SUCCEEDED: wire.EVENT_STATE_SUCCEEDED,
    EventState.FAILED: wire.EVENT_STATE_FAILED,
    EventState.DEAD: wire.EVENT_STATE_DEAD,
}
_STATES_IN: dict[int, EventState] = {n: state for state, n in _STATES.items()}


class EventService:
    """Wire to events and back; whoever calls sees its own tenant's alone."""

    def __init__(self, backend: Backend, draining: asyncio.Event) -> None:
        self._events = backend.invoker.events
        self._store = backend.event_store
        self._dead = backend.dead_letters
        self._clock = backend.clock
        self._draining = draining
        self._configs = backend.event_configs
        self._region = backend.region

    async def GetEvent(
        self, request: wire.GetEventRequest, _: Context
    ) -> wire.GetEventResponse:
        tenant_id = current_caller().tenant_id
        wait_s = min(request.wait.ToNanoseconds() / 1e9, MAX_WAIT_S)
        if wait_s > 0 and not self._draining.is_set():
            event = await self._waited_for(tenant_id, request.request_id, wait_s)
        else:
            event = await self._events.get(tenant_id, request.request_id)
        payload = None
        if request.payload:
            payload = await self._store.event_payload(event.position)
        return wire.GetEventResponse(event=_event_out(event), payload=payload or b"")

    async def _waited_for(
        self, tenant_id: str, request_id: str, wait_s: float
    ) -> Event:
        """When it is over, the time is up, or the server drains."""
        until = self._clock.monotonic() + wait_s
        waiting = asyncio.ensure_future(
            self._events.wait(tenant_id, request_id, until=until)
        )
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait((waiting, draining), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return await waiting
            return await self._events.get(tenant_id, request_id)
        finally:
            waiting.cancel()
            draining.cancel()
            await asyncio.gather(waiting, draining, return_exceptions=True)

    async def ListEvents(
        self, request: wire.ListEventsRequest, _: Context
    ) -> wire.ListEventsResponse:
        size = page_size(request.page_size)
        # One more than asked for tells whether there is another page.
        found = await self._store.list_events(
            current_caller().tenant_id,
            function=request.function,
            states=[_state_of(number) for number in request.states],
            before=position(request.page_token),
            limit=size + 1,
        )
        page = found[:size]
        return wire.ListEventsResponse(
            events=[_event_out(event) for event in page],
            next_page_token=str(page[-1].position) if len(found) > size else "",
        )

    async def RedriveEvents(
        self, request: wire.RedriveEventsRequest, _: Context
    ) -> wire.RedriveEventsResponse:
        done = await self._dead.redrive(
            current_caller().tenant_id,
            request_id=request.request_id,
            function=request.function,
        )
        return wire.RedriveEventsResponse(count=done.count, more=done.more)

    async def PurgeEvents(
        self, request: wire.PurgeEventsRequest, _: Context
    ) -> wire.PurgeEventsResponse:
        done = await self._dead.purge(
            current_caller().tenant_id,
            request_id=request.request_id,
            function=request.function,
        )
        return wire.PurgeEventsResponse(count=done.count, more=done.more)

    async def GetEventSettings(
        self, request: wire.GetEventSettingsRequest, _: Context
    ) -> wire.GetEventSettingsResponse:
        config = self._configs.of(
            current_caller().tenant_id, request.function, request.qualifier
        )
        return wire.GetEventSettingsResponse(settings=_settings_out(config))

    async def PutEventSettings(
        self, request: wire.PutEventSettingsRequest, _: Context
    ) -> wire.PutEventSettingsResponse:
        tenant_id = current_caller().tenant_id
        self._configs.of(tenant_id, request.function, request.qualifier)
        changes: dict[str, Any] = {
            name: getattr(request, name)
            for name in ("max_retries", "max_age_s", "on_success", "on_failure")
            if request.HasField(name)
        }
        for name in {"on_success", "on_failure"} & changes.keys():
            changes[name] = self._destination(changes[name], tenant_id)
        config = await self._configs.change(
            tenant_id, request.function, request.qualifier, **changes
        )
        return wire.PutEventSettingsResponse(settings=_settings_out(config))

    async def DeleteEventSettings(
        self, request: wire.DeleteEventSettingsRequest, _: Context
    ) -> wire.DeleteEventSettingsResponse:
        where = current_caller().tenant_id, request.function, request.qualifier
        self._configs.of(*where)
        if self._configs.find(*where) is not None:
            await self._configs.delete(*where)
        return wire.DeleteEventSettingsResponse()

    def _destination(self, text: str, tenant_id: str) -> str:
        """An ARN; of a function of the tenant, which may be called by its name."""
        if not text or text.startswith("arn:"):
            return text
        return function_arn(self._region, tenant_id, text)


def _settings_out(config: EventConfig) -> wire.EventSettings:
    retries, age_s = config.max_retries, config.max_age_s
    return wire.EventSettings(
        function=config.function,
        qualifier="" if config.qualifier == LATEST else config.qualifier,
        max_retries=MAX_RETRIES if retries is None else retries,
        max_age_s=MAX_AGE_S if age_s is None else age_s,
        on_success=config.destinations.on_success,
        on_failure=config.destinations.on_failure,
    )


def _state_of(number: int) -> EventState:
    if number not in _STATES_IN:
        raise InvalidParameter(f"there is no event state {number}", field="states")
    return _STATES_IN[number]


def _event_out(event: Event) -> wire.Event:
    waits = event.state is EventState.QUEUED
    return wire.Event(
        request_id=event.request_id,
        function=event.function,
        qualifier=event.qualifier,
        state=_STATES[event.state],
        size=event.size,
        accepted=timestamp(event.accepted),
        next_attempt=timestamp(event.due) if waits else None,
        ended=_optional(event),
        runs=event.runs,
        throttles=event.throttles,
        condition=event.condition.value if event.condition else "",
        reason=event.reason,
        undelivered=event.undelivered,
        attempts=[_attempt_out(attempt) for attempt in event.attempts],
    )


def _optional(event: Event) -> Timestamp | None:
    return None if event.ended is None else timestamp(event.ended)


def _attempt_out(attempt: Attempt) -> wire.EventAttempt:
    return wire.EventAttempt(
        started=timestamp(attempt.started),
        ended=timestamp(attempt.ended),
        status=attempt.status.value,
        error_type=attempt.error_type,
        error=attempt.error,
        version=attempt.version,
        billed=attempt.is_billed,
    )
