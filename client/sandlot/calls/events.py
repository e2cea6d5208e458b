"""Calls about events that were queued."""

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from sandlot import parsing
from sandlot.calls.call import PAGE_SIZE, Call, member
from sandlot.parsing import Page
from sandlot.results import Event, EventSettings, EventState
from sandlot.v1 import events_pb2 as evt

EVENT_STATES = {state: number for number, state in parsing.EVENT_STATES.items()}


def get_event(request_id: str, *, wait_s: float = 0.0) -> Call[Event]:
    wait = Duration()
    wait.FromNanoseconds(round(wait_s * 1e9))
    return Call(
        method="/sandlot.v1.EventService/GetEvent",
        request=evt.GetEventRequest(request_id=request_id, wait=wait),
        response=evt.GetEventResponse,
        parse=lambda message: parsing.event(message.event),
    )


def get_event_payload(request_id: str) -> Call[bytes]:
    return Call(
        method="/sandlot.v1.EventService/GetEvent",
        request=evt.GetEventRequest(request_id=request_id, payload=True),
        response=evt.GetEventResponse,
        parse=lambda message: bytes(message.payload),
    )


def list_events(
    function: str, states: Sequence[EventState | str], token: str
) -> Call[Page[Event]]:
    wanted: list[EventState] = [member(EventState, state) for state in states]
    return Call(
        method="/sandlot.v1.EventService/ListEvents",
        request=evt.ListEventsRequest(
            function=function,
            states=[EVENT_STATES[state] for state in wanted],  # type: ignore[misc]
            page_size=PAGE_SIZE,
            page_token=token,
        ),
        response=evt.ListEventsResponse,
        parse=lambda m: parsing.page(m.events, parsing.event, m.next_page_token),
    )


def redrive_events(*, request_id: str, function: str) -> Call[tuple[int, bool]]:
    return Call(
        method="/sandlot.v1.EventService/RedriveEvents",
        request=evt.RedriveEventsRequest(request_id=request_id, function=function),
        response=evt.RedriveEventsResponse,
        parse=lambda message: (message.count, message.more),
    )


def purge_events(*, request_id: str, function: str) -> Call[tuple[int, bool]]:
    return Call(
        method="/sandlot.v1.EventService/PurgeEvents",
        request=evt.PurgeEventsRequest(request_id=request_id, function=function),
        response=evt.PurgeEventsResponse,
        parse=lambda message: (message.count, message.more),
    )


def get_event_settings(function: str, *, qualifier: str = "") -> Call[EventSettings]:
    return Call(
        method="/sandlot.v1.EventService/GetEventSettings",
        request=evt.GetEventSettingsRequest(function=function, qualifier=qualifier),
        response=evt.GetEventSettingsResponse,
        parse=lambda message: parsing.event_settings(message.settings),
    )


def put_event_settings(
    function: str,
    *,
    qualifier: str,
    max_retries: int | None,
    max_age_s: int | None,
    on_success: str | None,
    on_failure: str | None,
) -> Call[EventSettings]:
    return Call(
        method="/sandlot.v1.EventService/PutEventSettings",
        request=evt.PutEventSettingsRequest(
            function=function,
            qualifier=qualifier,
            max_retries=max_retries,
            max_age_s=max_age_s,
            on_success=on_success,
            on_failure=on_failure,
        ),
        response=evt.PutEventSettingsResponse,
        parse=lambda message: parsing.event_settings(message.settings),
    )


def delete_event_settings(function: str, *, qualifier: str = "") -> Call[None]:
    return Call(
        method="/sandlot.v1.EventService/DeleteEventSettings",
        request=evt.DeleteEventSettingsRequest(function=function, qualifier=qualifier),
        response=evt.DeleteEventSettingsResponse,
        parse=parsing.nothing,
    )
