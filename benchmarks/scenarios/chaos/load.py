"""Events at a steady rate, whatever becomes of the engine meanwhile."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.stats import Series
from sandlot import AsyncClient, errors

AT_ONCE = 128
"""Events that wait for their answer."""

CALL_S = 20.0
FAILING_PERCENT = 1
"""Events whose function fails each time, and that end as dead letters."""

_PAUSE_S = 0.05
"""After an engine could not be asked: it is being started again."""


@dataclass(slots=True)
class Load:
    """What was sent, and what was said about it."""

    function: str
    port: int
    rate: float
    accepted: dict[str, bool] = field(default_factory=dict)
    """By id: whether its function is to fail."""

    refused: Counter[str] = field(default_factory=Counter)
    """Calls that got no id, by why."""

    took: Series = field(default_factory=lambda: Series(label="engine"))
    client: AsyncClient | None = None
    """Another one after each start; None while there is no engine."""

    up_s: float = 0.0
    """How long there was one."""

    _sent: int = 0
    _began: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send inside."""
        self._began = time.monotonic()
        senders = [asyncio.create_task(self._send()) for _ in range(AT_ONCE)]
        clock = asyncio.create_task(self._clock())
        try:
            yield
        finally:
            for task in (*senders, clock):
                task.cancel()
            await asyncio.gather(*senders, clock, return_exceptions=True)

    async def _clock(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            if self.client is not None:
                self.up_s += time.monotonic() - before

    async def _send(self) -> None:
        while True:
            await self._turn()
            client = self.client
            if client is None:
                await asyncio.sleep(_PAUSE_S)
                continue
            await self._send_one(client)

    async def _turn(self) -> None:
        """Each has its time; who is late is not waited for."""
        number = self._sent
        self._sent += 1
        early_s = self._began + number / self.rate - time.monotonic()
        if early_s > 0:
            await asyncio.sleep(early_s)

    async def _send_one(self, client: AsyncClient) -> None:
        fails = self._sent % 100 < FAILING_PERCENT
        event = {"n": self._sent, "port": self.port, "fail": fails}
        began = time.perf_counter()
        try:
            ticket = await client.enqueue(
                self.function, payload=json.dumps(event).encode(), deadline=CALL_S
            )
        except errors.SandlotError as error:
            self.refused[type(error).__name__] += 1
            await asyncio.sleep(_PAUSE_S)
        else:
            self.took.add(time.perf_counter() - began)
            self.accepted[ticket.request_id] = fails
