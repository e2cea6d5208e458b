"""All mappings that are read: begins with each, and ends with it.

Nothing is kept here but what a restart may forget. What is wanted is in the catalog;
what was received is its queue's.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from collections.abc import Mapping as MappingOf
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sandlot_engine.catalog.mappings import Mappings
from sandlot_engine.clock import Clock
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.mapping import Mapping
from sandlot_engine.polling.pace import LONGEST_PAUSE_S
from sandlot_engine.polling.ports import Endpoint, Invoking, Reserved
from sandlot_engine.polling.queues import NoQueue, QueueTrouble
from sandlot_engine.polling.reader import NOTHING_YET, Reader
from sandlot_engine.polling.sources import (
    Source,
    Unread,
    queue_of,
    source_of,
    why_unread,
)
from sandlot_engine.polling.turns import Turns

DRAIN_S = 10.0
"""How long batches may run on when the engine stops. Those that are cut off come again
from their queue."""

CHECK_S = 15.0
"""How long whoever makes a mapping waits for the endpoint's word on it."""

USER = "USER_INITIATED"

_log = logging.getLogger(__name__)

Readings = MappingOf[str, tuple[str, Callable[[], float]]]
"""As `Metrics.watch` takes them."""


class State(StrEnum):
    """AWS's; one that is gone is gone at once."""

    ENABLED = "Enabled"
    DISABLING = "Disabling"
    """It is not wanted, and batches of it run."""

    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How it goes with a mapping."""

    is_read: bool
    """Whether it would be, if that is wanted."""

    state: State
    reason: str
    """`StateTransitionReason`"""

    result: str = NOTHING_YET
    """`LastProcessingResult`"""


class Sources(Protocol):
    """What is told of mappings' sources."""

    def progress(self, mapping: Mapping) -> Progress:
        """Never waits."""
        ...

    async def check(self, tenant_id: str, source_arn: str, *, timeout_s: int) -> None:
        """Raise `InvalidParameter` where a function with that timeout cannot have that
        source, as far as it would be read here and its endpoint answers."""
        ...


class Nobody:
    """Reads nothing."""

    def progress(self, mapping: Mapping) -> Progress:
        why = why_unread(mapping, has_endpoint=False)
        return Progress(is_read=False, state=State.DISABLED, reason=why)

    async def check(self, tenant_id: str, source_arn: str, *, timeout_s: int) -> None:
        pass


NOBODY: Sources = Nobody()


class Poller:
    """`running` reads all that is wanted."""

    def __init__(
        self,
        mappings: Mappings,
        queues: Endpoint,
        invoker: Invoking,
        *,
        reserved: Reserved,
        clock: Clock,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._mappings = mappings
        self._queues = queues
        self._invoker = invoker
        self._reserved = reserved
        self._clock = clock
        self._drain_s = drain_s
        self._turns = Turns()
        self._readers: dict[str, Reader] = {}
        """By the mapping's UUID."""

        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        """None while nothing is to be begun."""

        self._counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Poller of {len(self._readers)} mappings>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read what is wanted. Leaving it ends that: batches that run are brought to
        their end, within `drain_s`."""
        async with asyncio.TaskGroup() as self._group:
            self._mappings.heard.append(self._look)
            for mapping in self._mappings.all():
                self._look(mapping.tenant_id, mapping.uuid)
            try:
                yield
            finally:
                self._mappings.heard.remove(self._look)
                self._group = None
                await self._drain()

    def progress(self, mapping: Mapping) -> Progress:
        if why := why_unread(mapping, has_endpoint=self._queues.has_endpoint):
            return Progress(is_read=False, state=State.DISABLED, reason=why)
        reader = self._readers.get(mapping.uuid)
        state = State.ENABLED
        if not mapping.is_wanted:
            state = State.DISABLED if reader is None else State.DISABLING
        result = NOTHING_YET if reader is None else reader.result
        return Progress(is_read=True, state=state, reason=USER, result=result)

    async def check(self, tenant_id: str, source_arn: str, *, timeout_s: int) -> None:
        try:
            source = queue_of(source_arn, tenant_id=tenant_id)
            if not self._queues.has_endpoint:
                return
            async with asyncio.timeout(CHECK_S):
                visibility_s = await self._queues.visibility_s(source)
        except NoQueue as error:
            raise InvalidParameter(
                f"Error occurred while ReceiveMessage. {error}", field="EventSourceArn"
            ) from error
        except (Unread, QueueTrouble, TimeoutError):
            return  # the mapping itself will say so
        if visibility_s < timeout_s:
            raise InvalidParameter(
                f"Queue visibility timeout: {visibility_s:.0f} seconds is less than "
                f"Function timeout: {timeout_s} seconds",
                field="EventSourceArn",
            )

    # --- beginning and ending ---------------------------------------------------------

    def _look(self, tenant_id: str, uuid: str) -> None:
        """That mapping may be new, another, or gone."""
        reader = self._readers.get(uuid)
        source = self._wanted(tenant_id, uuid)
        if reader is not None:
            reader.stir() if source is not None else reader.stop()
        elif source is not None and self._group is not None:
            self._begin(tenant_id, uuid, source)

    def _begin(self, tenant_id: str, uuid: str, source: Source) -> None:
        assert self._group is not None  # noqa: S101 - see `_look`
        self._readers[uuid] = Reader(
            source,
            mapping=lambda: self._read_mapping(tenant_id, uuid),
            readers=lambda: len(self._readers),
            queues=self._queues,
            turns=self._turns,
            invoker=self._invoker,
            reserved=self._reserved,
            clock=self._clock,
            counts=self._counts,
        )
        self._tasks[uuid] = self._group.create_task(self._read(tenant_id, uuid))

    async def _read(self, tenant_id: str, uuid: str) -> None:
        try:
            await self._readers[uuid].run()
        except Exception:  # noqa: BLE001 - others' mappings go on
            _log.exception("a mapping's reader failed for an unforeseen reason")
            await self._readers[uuid].pause(LONGEST_PAUSE_S)
        finally:
            del self._readers[uuid], self._tasks[uuid]
            # It may be wanted again since.
            self._look(tenant_id, uuid)

    def _wanted(self, tenant_id: str, uuid: str) -> Source | None:
        mapping = self._mappings.find(tenant_id, uuid)
        if mapping is None or not mapping.is_wanted:
            return None
        try:
            return source_of(mapping, has_endpoint=self._queues.has_endpoint)
        except Unread:
            return None

    def _read_mapping(self, tenant_id: str, uuid: str) -> Mapping | None:
        mapping = self._mappings.find(tenant_id, uuid)
        return mapping if mapping is not None and mapping.is_wanted else None

    async def _drain(self) -> None:
        tasks = list(self._tasks.values())
        for reader in self._readers.values():
            reader.stop()
        if tasks:
            await asyncio.wait(tasks, timeout=self._drain_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- counted ----------------------------------------------------------------------

    @property
    def gauges(self) -> Readings:
        return {
            "source_mappings": (
                "Event source mappings that are read.",
                lambda: len(self._readers),
            ),
            "source_batches_running": (
                "Batches that functions have, or will have when there is room.",
                lambda: sum(reader.running for reader in self._readers.values()),
            ),
            "source_bytes_held": (
                "Bytes of messages that were received and are not done with.",
                lambda: self._turns.held,
            ),
        }

    @property
    def counters(self) -> Readings:
        def reading(name: str) -> Callable[[], float]:
            return lambda: self._counts[name]

        return {
            **{
                f"source_{name}": (what, reading(name))
                for name, what in _COUNTED.items()
            },
            "source_turns_refused": (
                "Times that a queue was not asked, for want of room for its messages.",
                lambda: self._turns.refused_for_room,
            ),
        }


_COUNTED = {
    "polls": "Times that a queue was asked, and answered.",
    "problems": "Times that a queue could not be asked, or its function not be run.",
    "received": "Messages that were received and chosen.",
    "filtered": "Messages that no pattern chose; they were deleted.",
    "batches": "Batches of messages for functions.",
    "batches_failed": "Batches of which some messages were left to come again.",
    "throttled": "Times that there was no room for a batch.",
    "left": "Messages that functions failed with.",
    "deleted": "Messages that were deleted.",
    "not_deleted": "Messages that could not be deleted, and come again.",
    "given_back": "Messages that were received and given back.",
}
