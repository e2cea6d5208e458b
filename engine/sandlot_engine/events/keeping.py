"""How long events that are over can be asked for."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from sandlot_engine.errors import SandlotError
from sandlot_engine.events.depths import (
    ENDED,
    MAX_DEAD_S,
    MAX_ENDED_S,
    MAX_PRUNED,
    Depths,
)
from sandlot_engine.events.steady import SteadyTime
from sandlot_engine.model.event import EventState
from sandlot_engine.store.event_ports import Depth, EventStore

LOOK_EVERY_S = 60.0
"""For those that are too old. Those that are too many go sooner."""

_log = logging.getLogger(__name__)


class Keeping:
    """Deletes what is too old or too much; an async context manager."""

    def __init__(
        self,
        store: EventStore,
        depths: Depths,
        time: SteadyTime,
        counts: Counter[str],
    ) -> None:
        self._store = store
        self._depths = depths
        self._time = time
        self._counts = counts
        self._too_much: set[str] = set()
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None  # noqa: S101 - it was entered
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def look_at(self, tenant_id: str) -> None:
        """It has more events that are over than before."""
        if any(self._depths.excesses(tenant_id)):
            self._too_much.add(tenant_id)
            self._something.set()

    async def prune(self) -> None:
        """Delete what is too much, and what is too old."""
        for tenant_id in sorted(self._too_much):
            await self._delete_excess(tenant_id)
        self._too_much.clear()
        for tenant_id in sorted(self._depths.tenants):
            await self._delete_old(tenant_id, ENDED, MAX_ENDED_S)
            await self._delete_old(tenant_id, (EventState.DEAD,), MAX_DEAD_S)

    async def _keep(self) -> None:
        while True:
            self._something.clear()
            try:
                await self.prune()
            except SandlotError as error:
                _log.error("events could not be deleted: %s", error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._something.wait()

    async def _delete_excess(self, tenant_id: str) -> None:
        while excess := next(self._depths.excesses(tenant_id), None):
            gone = await self._store.delete_events(
                tenant_id, states=excess.states, limit=excess.count
            )
            self.note_deleted(gone)
            if not gone:
                return

    async def _delete_old(
        self, tenant_id: str, states: Sequence[EventState], max_s: float
    ) -> None:
        if not self._depths.of(tenant_id, states[0])[0]:
            return
        before = self._time.now() - timedelta(seconds=max_s)
        gone = await self._store.delete_events(
            tenant_id, states=states, ended_before=before, limit=MAX_PRUNED
        )
        self.note_deleted(gone)

    def note_deleted(self, gone: Sequence[Depth]) -> None:
        for depth in gone:
            self._depths.add(depth.tenant_id, depth.state, -depth.count, -depth.size)
            if depth.state is EventState.DEAD:
                self._counts["dead_dropped"] += depth.count
