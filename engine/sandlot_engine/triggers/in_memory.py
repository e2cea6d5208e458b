"""`Events` over a queue that knows no keys: they are known as long as this process
lives, and no longer."""

from collections.abc import Awaitable, Callable

from sandlot_engine.model.invocation import Invocation

MAX_KEYS = 100_000
"""The oldest are forgotten first."""


class RememberingEvents:
    """Passes each event on once."""

    def __init__(self, enqueue: Callable[[Invocation], Awaitable[object]]) -> None:
        self._enqueue = enqueue
        self._keys: dict[str, None] = {}

    async def submit(self, invocation: Invocation, *, once_key: str) -> bool:
        """See `Events`."""
        if once_key in self._keys:
            return False
        # Before the wait, so that a second one of the same does not come between.
        self._keys[once_key] = None
        try:
            await self._enqueue(invocation)
        except BaseException:
            self._keys.pop(once_key, None)
            raise
        while len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        return True
