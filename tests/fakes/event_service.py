# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""The part of the fake engine that tells of events."""

from typing import Any, Protocol

import grpc

from sandlot.v1 import events_pb2 as evt
from sandlot.v1 import events_pb2_grpc as evt_grpc


class Door(Protocol):
    """Of `engine.Engine`: checks the key, and keeps the request."""

    def enter(self, request: Any, context: grpc.ServicerContext) -> str: ...


class Events(evt_grpc.EventServiceServicer):
    """`all` has the events; each look at one brings it to `next_states`'s next."""

    def __init__(self, engine: Door) -> None:
        self.engine = engine
        self.all: list[evt.Event] = []
        self.next_states: list[Any] = []
        self.settings: dict[tuple[str, str], evt.EventSettings] = {}
        self.batches: list[tuple[int, bool]] = []
        """How many the next redrives and purges are of, and whether there are more."""

    def GetEvent(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        for event in self.all:
            if event.request_id == request.request_id:
                if self.next_states:
                    event.state = self.next_states.pop(0)
                payload = b'{"n":1}' if request.payload else b""
                return evt.GetEventResponse(event=event, payload=payload)
        return context.abort(grpc.StatusCode.NOT_FOUND, "no such event")

    def ListEvents(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        start = int(request.page_token or 0)
        found = [
            event
            for event in self.all
            if request.function in ("", event.function)
            and (not request.states or event.state in request.states)
        ]
        more = str(start + 1) if len(found) > start + 1 else ""
        return evt.ListEventsResponse(
            events=found[start : start + 1], next_page_token=more
        )

    def GetEventSettings(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        return evt.GetEventSettingsResponse(settings=self._settings_of(request))

    def PutEventSettings(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        settings = self._settings_of(request)
        for field, value in request.ListFields():
            setattr(settings, field.name, value)
        for name in ("on_success", "on_failure"):
            if request.HasField(name):
                setattr(settings, name, getattr(request, name))
        self.settings[request.function, request.qualifier] = settings
        return evt.PutEventSettingsResponse(settings=settings)

    def DeleteEventSettings(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        self.settings.pop((request.function, request.qualifier), None)
        return evt.DeleteEventSettingsResponse()

    def _settings_of(self, request: Any) -> evt.EventSettings:
        where = {"function": request.function, "qualifier": request.qualifier}
        nothing = evt.EventSettings(**where, max_retries=2, max_age_s=21_600)
        return self.settings.get((request.function, request.qualifier), nothing)

    def RedriveEvents(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        count, more = self.batches.pop(0)
        return evt.RedriveEventsResponse(count=count, more=more)

    def PurgeEvents(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        count, more = self.batches.pop(0)
        return evt.PurgeEventsResponse(count=count, more=more)
