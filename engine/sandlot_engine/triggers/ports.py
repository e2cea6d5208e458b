"""What triggers need of whoever takes events."""

from typing import Protocol

from sandlot_engine.model.invocation import Invocation


class Events(Protocol):
    """A queue of events."""

    async def submit(self, invocation: Invocation, *, once_key: str) -> bool:
        """Take an event; True once it will be run whatever happens to this process.

        False, and nothing is done, where an event with that key was taken before, in
        this process or an earlier one, waiting, running or run. A key has to be known
        for 25 hours at least: an event older than a day is not sent again.

        Raises a `SandlotError` where it was not taken: `Throttled`, `Conflict` or a
        `Fault` if it may be another time.
        """
        ...
