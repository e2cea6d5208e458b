"""What triggers need of whoever takes events."""

from typing import Protocol

from sandlot_engine.model.invocation import Invocation


class Events(Protocol):
    """A queue of events."""

    async def enqueue(self, invocation: Invocation) -> object:
        """Take an event; once this returns it will be run, whatever happens to this
        process. One with the request id of another, of the same tenant, is that one:
        waiting, running, or run within the last day, by this process or an earlier one.

        Raises a `SandlotError` where it was not taken: `Throttled`, `Conflict` or a
        `Fault` if it may be another time.
        """
        ...
