"""Who waits for the next line of which log."""

from asyncio import Event
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sandlot_engine.store.buffer import Owner


class Followers:
    """Wakes everybody who follows a log when something was written to it."""

    def __init__(self) -> None:
        self._events: dict[Owner, set[Event]] = {}

    @contextmanager
    def following(self, owner: Owner) -> Iterator[Event]:
        """An event that is set by the next write to the log of `owner`."""
        written = Event()
        self._events.setdefault(owner, set()).add(written)
        try:
            yield written
        finally:
            self._events[owner].discard(written)
            if not self._events[owner]:
                del self._events[owner]

    def wake(self, owners: Iterable[Owner]) -> None:
        for owner in owners:
            for written in self._events.get(owner, ()):
                written.set()
