"""Whose turn it is to ask a queue: a bounded number at once, tenants one after another.

A turn is a thread that waits at the endpoint. A tenant with a thousand mappings has as
many of the turns that become free as one with a single mapping that waits. Nobody is
given one while the messages that are here have too many bytes, in all or of the tenant.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TURNS = 64
"""Queues that are asked at once."""

MAX_HELD = 256 * 1024 * 1024
"""Bytes of all messages that were received and are not done with; each turn that was
given before may bring some more."""

MAX_HELD_OF_TENANT = 64 * 1024 * 1024


class Turns:
    """Lends them, for `async with`."""

    def __init__(
        self,
        turns: int = TURNS,
        *,
        max_held: int = MAX_HELD,
        max_held_of_tenant: int = MAX_HELD_OF_TENANT,
    ) -> None:
        self.count = turns
        self._free = turns
        self._max_held = max_held
        self._max_held_of_tenant = max_held_of_tenant
        self.held = 0
        """Bytes of messages that are here."""

        self._held_of: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By tenant, who is next first."""

        self.refused_for_room = 0
        """Times that a tenant was passed over because of bytes."""

    def __repr__(self) -> str:
        return f"<Turns {self._free} free of {self.count}>"

    @asynccontextmanager
    async def turn(self, tenant_id: str) -> AsyncIterator[None]:
        """Waits for one; who has a deadline puts it around this."""
        await self._wait(tenant_id)
        try:
            yield
        finally:
            self._free += 1
            self._give()

    def hold(self, tenant_id: str, size: int) -> None:
        """There are so many bytes more."""
        self.held += size
        self._held_of[tenant_id] += size

    def let_go(self, tenant_id: str, size: int) -> None:
        self.held -= size
        self._held_of[tenant_id] -= size
        if not self._held_of[tenant_id]:
            del self._held_of[tenant_id]
        self._give()

    async def _wait(self, tenant_id: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, deque()).append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += 1  # it was given, and nobody took it
            self._give()
            raise

    def _give(self) -> None:
        for tenant_id in list(self._waiting):
            if not self._free:
                return
            waiting = self._waiting[tenant_id]
            while waiting and waiting[0].done():
                waiting.popleft()
            if waiting and not self._has_room(tenant_id):
                self.refused_for_room += 1
                continue
            if waiting:
                self._free -= 1
                waiting.popleft().set_result(None)
            if waiting:
                self._waiting.move_to_end(tenant_id)
            else:
                del self._waiting[tenant_id]

    def _has_room(self, tenant_id: str) -> bool:
        return (
            self._held_of[tenant_id] < self._max_held_of_tenant
            and self.held < self._max_held
        )
