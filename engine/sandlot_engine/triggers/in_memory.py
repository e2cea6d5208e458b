"""`Events` over a queue that takes an id twice: ids are known as long as this process
lives, and no longer."""

from sandlot_engine.model.invocation import Invocation
from sandlot_engine.triggers.ports import Events

MAX_IDS = 100_000
"""The oldest are forgotten first."""


class RememberingEvents:
    """Passes each event on once."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._ids: dict[tuple[str, str], None] = {}

    async def enqueue(self, invocation: Invocation) -> None:
        """See `Events`."""
        named = invocation.tenant_id, invocation.request_id
        if named in self._ids:
            return
        # Before the wait, so that a second one of the same does not come between.
        self._ids[named] = None
        try:
            await self._events.enqueue(invocation)
        except BaseException:
            self._ids.pop(named, None)
            raise
        while len(self._ids) > MAX_IDS:
            del self._ids[next(iter(self._ids))]
