"""How much of whose is kept, and how much may be: pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from sandlot_engine.errors import Throttled
from sandlot_engine.model.event import Event, EventState

MAX_QUEUED = 100_000
"""Events of one tenant that are not over."""

MAX_QUEUED_BYTES = 2**30
"""Bytes of their payloads."""

MAX_ALL_QUEUED_BYTES = 8 * 2**30
"""The same for all tenants together: it is the disk's."""

MAX_ENDED = 10_000
"""Events of one tenant that succeeded or failed and can be asked for."""

MAX_ENDED_S = 24 * 3600.0
"""How long they can."""

MAX_DEAD = 10_000
"""Events in one tenant's dead-letter store; the oldest give way, and are counted."""

MAX_DEAD_BYTES = 256 * 2**20
MAX_DEAD_S = 14 * 24 * 3600.0
"""How long they are kept there."""

MAX_PRUNED = 1_000
"""Events that are deleted at once: others write in between."""

RETRY_AFTER_S = 5.0
"""What a caller is told whose queue is full."""

ENDED = (EventState.SUCCEEDED, EventState.FAILED)


@dataclass(slots=True)
class _Kept:
    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """Delete so many of a tenant's oldest events in these states."""

    tenant_id: str
    states: tuple[EventState, ...]
    count: int


class Depths:
    """Counts of events and bytes by tenant, kept up to date by whoever moves them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, EventState], _Kept] = {}
        self._all_queued = _Kept()

    @property
    def queued(self) -> int:
        """Events of all tenants that are not over."""
        return self._all_queued.count

    @property
    def queued_bytes(self) -> int:
        return self._all_queued.size

    @property
    def dead(self) -> int:
        """Events in all dead-letter stores."""
        return sum(
            kept.count for (_, s), kept in self._kept.items() if s is EventState.DEAD
        )

    @property
    def tenants(self) -> set[str]:
        """The tenants that have anything here."""
        return {tenant_id for tenant_id, _ in self._kept}

    def of(self, tenant_id: str, state: EventState) -> tuple[int, int]:
        """Events and bytes. What is not over counts as QUEUED."""
        kept = self._kept.get((tenant_id, _group(state)), _Kept())
        return kept.count, kept.size

    def check_room(self, tenant_id: str, size: int) -> None:
        """Raise `Throttled` where an event of that size has no room."""
        count, queued = self.of(tenant_id, EventState.QUEUED)
        if count >= MAX_QUEUED:
            raise _full(
                f"tenant {tenant_id!r} already has {count} events waiting "
                f"of {MAX_QUEUED} allowed",
                MAX_QUEUED,
            )
        if queued + size > MAX_QUEUED_BYTES:
            raise _full(
                f"tenant {tenant_id!r} already has {queued} bytes of events waiting "
                f"of {MAX_QUEUED_BYTES} allowed",
                MAX_QUEUED_BYTES,
            )
        if self.queued_bytes + size > MAX_ALL_QUEUED_BYTES:
            raise _full(
                f"the engine already has {self.queued_bytes} bytes of events waiting "
                f"of {MAX_ALL_QUEUED_BYTES} allowed",
                MAX_ALL_QUEUED_BYTES,
            )

    def add(self, tenant_id: str, state: EventState, count: int, size: int) -> None:
        """Or take away, where they are negative; of what was forgotten meanwhile,
        nothing is left to be taken."""
        group = _group(state)
        kept = self._kept.setdefault((tenant_id, group), _Kept())
        count, size = max(count, -kept.count), max(size, -kept.size)
        kept.count += count
        kept.size += size
        if not kept.count:
            del self._kept[tenant_id, group]
        if group is EventState.QUEUED:
            self._all_queued.count += count
            self._all_queued.size += size

    def forget(self, tenant_id: str) -> None:
        """All of a tenant's: it is gone, and they with it."""
        for owner, state in list(self._kept):
            if owner == tenant_id:
                count, size = self.of(tenant_id, state)
                self.add(tenant_id, state, -count, -size)

    def moved(self, event: Event, to: EventState) -> None:
        """An event, as it was, is in another state now."""
        if _group(event.state) is not _group(to):
            self.add(event.tenant_id, event.state, -1, -event.size)
            self.add(event.tenant_id, to, 1, event.size)

    def excesses(self, tenant_id: str) -> Iterator[Excess]:
        """What is to be deleted of a tenant's because it is too much."""
        count, _ = self.of(tenant_id, EventState.SUCCEEDED)
        if count > MAX_ENDED:
            yield Excess(
                tenant_id=tenant_id,
                states=ENDED,
                # More than is needed, so that not every event has to.
                count=min(count - MAX_ENDED * 7 // 8, MAX_PRUNED),
            )
        count, size = self.of(tenant_id, EventState.DEAD)
        if count > MAX_DEAD or size > MAX_DEAD_BYTES:
            over = max(count - MAX_DEAD, count // 8, 1)
            yield Excess(
                tenant_id=tenant_id,
                states=(EventState.DEAD,),
                count=min(over, MAX_PRUNED),
            )


def _group(state: EventState) -> EventState:
    """States that have a bound together, by one of them."""
    if state is EventState.DEAD:
        return state
    return EventState.SUCCEEDED if state.is_final else EventState.QUEUED


def _full(message: str, limit: int) -> Throttled:
    # AWS has no reason of its own for a full queue; this one exists in its enum.
    return Throttled(
        message,
        reason="CallerRateLimitExceeded",
        limit=limit,
        retry_after_s=RETRY_AFTER_S,
    )
