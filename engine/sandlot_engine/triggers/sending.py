"""A trigger's event on its way to the queue."""

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Conflict, Fault, SandlotError, Throttled, TooLarge
from sandlot_engine.model.invocation import (
    MAX_EVENT_PAYLOAD,
    Invocation,
    InvocationType,
)
from sandlot_engine.model.trigger import Trigger
from sandlot_engine.triggers import plan
from sandlot_engine.triggers.ports import Events


class Sender:
    """Sends events of all triggers."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock

    async def send(self, trigger: Trigger, payload: bytes, *, once_key: str) -> str:
        """Have the trigger's function run with that, if it was not with the same key
        before; the request's id, which is the same for the same key.

        Raises `TooLarge`, and what `Events.enqueue` does.
        """
        if len(payload) > MAX_EVENT_PAYLOAD:
            raise TooLarge(
                f"the event would have {len(payload)} bytes of {MAX_EVENT_PAYLOAD} "
                "allowed",
                field="payload",
            )
        request_id = plan.request_id(once_key)
        await self._events.enqueue(
            Invocation(
                request_id=request_id,
                tenant_id=trigger.tenant_id,
                function=trigger.function,
                qualifier=trigger.qualifier,
                payload=payload,
                type=InvocationType.EVENT,
                arrived=self._clock.monotonic(),
            )
        )
        return request_id


def may_be_another_time(error: SandlotError) -> bool:
    """Whether an event that was refused so may be taken later."""
    return isinstance(error, Throttled | Conflict | Fault)
