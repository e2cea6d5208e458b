"""Events: queued, looked at, and run again or deleted where they are dead."""

from collections.abc import AsyncIterator, Sequence

from sandlot import calls, steps
from sandlot.aio.connection import AsyncService
from sandlot.aio.handles import AsyncTicket
from sandlot.results import JSON, Event, EventSettings, EventState
from sandlot.transport import DEPLOY_DEADLINE_S, STREAM_DEADLINE_S
from sandlot.v1 import invocations_pb2 as pb


class AsyncEvents(AsyncService):
    """See `AsyncClient`."""

    async def enqueue(
        self,
        name: str,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        qualifier: str = "",
        idempotency_key: str = "",
    ) -> AsyncTicket:
        """Queue an event; it is on disk when this returns. The ticket tells what
        becomes of it."""
        request = calls.invoke_request(
            name,
            value,
            payload=payload,
            qualifier=qualifier,
            invocation_type=pb.INVOCATION_TYPE_EVENT,
            idempotency_key=idempotency_key,
        )
        reply = await self._connection.ask(calls.invoke(request), deadline)
        return AsyncTicket(self, reply.request_id)

    async def event(self, request_id: str) -> Event:
        """What has become of an event. Raises `NotFound`, also where it was over too
        long ago."""
        return await self._connection.ask(calls.get_event(request_id))

    async def event_payload(self, request_id: str) -> bytes:
        """Its payload; empty where it is kept no more."""
        return await self._connection.ask(calls.get_event_payload(request_id))

    async def wait_event(
        self, request_id: str, *, deadline: float | None = None
    ) -> Event:
        """The event when it is over. Raises `NotFound`, `DeadlineExceeded`."""
        errand = steps.wait_event(request_id)
        return await self._connection.drive(errand, deadline, STREAM_DEADLINE_S)

    def events(
        self, name: str = "", *, states: Sequence[EventState | str] = ()
    ) -> AsyncIterator[Event]:
        """Events, newest first; of all functions if no name is given."""
        return self._connection.pages(
            lambda token: calls.list_events(name, states, token)
        )

    async def redrive_events(self, name: str = "", *, request_id: str = "") -> int:
        """Run dead events again: one, a function's, or all; how many."""
        errand = steps.redrive_events(function=name, request_id=request_id)
        return await self._connection.drive(errand, None, DEPLOY_DEADLINE_S)

    async def purge_events(self, name: str = "", *, request_id: str = "") -> int:
        """Delete dead events: one, a function's, or all; how many."""
        errand = steps.purge_events(function=name, request_id=request_id)
        return await self._connection.drive(errand, None, DEPLOY_DEADLINE_S)

    async def get_event_settings(
        self, name: str, *, qualifier: str = ""
    ) -> EventSettings:
        """How a function's events are treated, or those of a version or alias of it."""
        call = calls.get_event_settings(name, qualifier=qualifier)
        return await self._connection.ask(call)

    async def put_event_settings(
        self,
        name: str,
        *,
        qualifier: str = "",
        max_retries: int | None = None,
        max_age_s: int | None = None,
        on_success: str | None = None,
        on_failure: str | None = None,
    ) -> EventSettings:
        """Change what is given: how often what fails is tried again (0 to 2), how long
        an event may wait (60 to 21600), and who is told: an ARN, or the name of another
        function; `""` is nobody."""
        call = calls.put_event_settings(
            name,
            qualifier=qualifier,
            max_retries=max_retries,
            max_age_s=max_age_s,
            on_success=on_success,
            on_failure=on_failure,
        )
        return await self._connection.ask(call)

    async def delete_event_settings(self, name: str, *, qualifier: str = "") -> None:
        """Make all of it the defaults again."""
        await self._connection.ask(
            calls.delete_event_settings(name, qualifier=qualifier)
        )
