"""Messages wait here for others to make a batch: pure, one for each mapping.

A batch is closed by the first of: it has as many as were wanted, another would not fit
into an event, its first message has waited for the window. The window is never over
half of the time for which its queue hides a message, or the batch would be given to
somebody else while it waits here.
"""

from collections import deque
from collections.abc import Sequence

from sandlot_engine.model.invocation import MAX_PAYLOAD
from sandlot_engine.polling.records import AROUND, Message

MAX_RECEIVED = 10
"""Messages that SQS gives at once."""


class Assembly:
    """What was received and is in no batch yet."""

    def __init__(self, max_bytes: int = MAX_PAYLOAD) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[Message] = deque()

    def __repr__(self) -> str:
        return f"<Assembly of {len(self._waiting)} messages>"

    def add(self, messages: Sequence[Message]) -> None:
        self._waiting.extend(messages)

    def wanted(self, batch_size: int) -> int:
        """How many more may be asked for, at once."""
        return max(1, min(MAX_RECEIVED, batch_size - len(self._waiting)))

    def closes_at(self, window_s: float) -> float | None:
        """When there is a batch although no other message comes."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        hidden_s = first.visible - first.received
        return first.received + min(window_s, hidden_s / 2)

    def take(
        self, batch_size: int, window_s: float, *, now: float
    ) -> tuple[Message, ...]:
        """A batch that is closed; empty where there is none."""
        closes_at = self.closes_at(window_s)
        if closes_at is None:
            return ()
        count = self._fitting(batch_size)
        is_full = count == batch_size or count < len(self._waiting)
        if not is_full and now < closes_at:
            return ()
        return tuple(self._waiting.popleft() for _ in range(count))

    def expired(self, now: float) -> tuple[Message, ...]:
        """Those that their queue gives to others by now: they are no more ours to run,
        and in no batch."""
        late: list[Message] = []
        while self._waiting and self._waiting[0].visible <= now:
            late.append(self._waiting.popleft())
        return tuple(late)

    def clear(self) -> tuple[Message, ...]:
        """All that wait; they will be in no batch."""
        waiting = tuple(self._waiting)
        self._waiting.clear()
        return waiting

    def _fitting(self, batch_size: int) -> int:
        """How many of the first go into one event: at least one, which always fits, as
        SQS has no messages of such a size."""
        size = AROUND
        for count, message in enumerate(self._waiting):
            size += len(message.record) + (count > 0)
            if count == batch_size or (count and size > self._max_bytes):
                return count
        return len(self._waiting)
