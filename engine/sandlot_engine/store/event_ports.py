"""What the events need kept, and what they may rely on.

As for the ports beside this one: the embedded adapter and its fake pass the same suite
of `tests/contracts`, and what a method has changed survives `kill -9` when it returns.
`put_event` and `settle_delivery` survive a power cut, too, as nobody else has the event
yet, or any more; after one, what the others changed may be as it was before, all of it
from some moment on. An event may then run once more; it is never lost.

Where the disk is full, whatever changes something raises `Unavailable`, and nothing has
changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sandlot_engine.model.event import Delivery, Event, EventState
from sandlot_engine.model.invocation import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An event or a delivery that waits."""

    position: int
    """The event's, or the delivery's id."""

    due: datetime
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Those that wait for the same: a function's events, or a target's deliveries."""

    tenant_id: str
    name: str
    first_due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much of a tenant's is in a state."""

    tenant_id: str
    state: EventState
    count: int
    size: int
    """Bytes of payloads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What has become of an event that was claimed; kept all at once, or not at all."""

    event: Event
    response: bytes | None = None
    """What its function last answered, for who is told of it; None: as it was."""

    record: Record | None = None
    """What its run took, if it ran: the bill has it if, and only if, this is kept."""

    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A delivery, and all that its body is made of."""

    delivery: Delivery
    event: Event
    payload: bytes
    response: bytes | None


class EventStore(Protocol):
    """Events until nobody asks about them any more, and whom to tell of them."""

    async def put_event(self, event: Event, payload: bytes) -> int | None:
        """Add it, and return its position; None where its tenant has one of that
        request id already, which stays as it is."""
        ...

    async def claim_events(
        self, positions: Sequence[int], *, now: datetime
    ) -> list[tuple[Event, bytes]]:
        """Those of them that are QUEUED become RUNNING; with their payloads. The
        others are not in the answer."""
        ...

    async def settle_event(self, settled: Settled) -> bool:
        """Replace an event, and keep what else there is of it. The payload goes when
        it succeeded or failed. Whether the event was still there."""
        ...

    async def waiting_lanes(self) -> list[Lane]:
        """Every function that has events which are QUEUED."""
        ...

    async def waiting_events(
        self, tenant_id: str, function: str, *, limit: int
    ) -> list[Waiting]:
        """The first of a function that are QUEUED, by due time and position."""
        ...

    async def running_events(self, *, limit: int) -> list[tuple[Event, datetime]]:
        """Events that are RUNNING, and when they were claimed: after a start, those
        that were interrupted."""
        ...

    async def event_depths(self) -> list[Depth]: ...

    async def get_event(self, tenant_id: str, request_id: str) -> Event | None: ...

    async def event_payload(self, position: int) -> bytes | None:
        """None where it is gone."""
        ...

    async def list_events(
        self,
        tenant_id: str,
        *,
        function: str = "",
        states: Sequence[EventState] = (),
        before: int = 0,
        limit: int,
    ) -> list[Event]:
        """Newest first, below position `before` (0: all)."""
        ...

    async def delete_events(
        self,
        tenant_id: str,
        *,
        states: Sequence[EventState],
        ended_before: datetime | None = None,
        function: str = "",
        request_id: str = "",
        limit: int,
    ) -> list[Depth]:
        """The oldest of a tenant's in those final states; how much of each it was."""
        ...

    async def shift_events(self, by: timedelta, *, now: datetime) -> None:
        """Move all times of events and deliveries that are not over, and since when the
        others are, though not past `now`: the clock was set, and that is its time."""
        ...

    async def latest_time(self) -> datetime | None:
        """The latest that is known of anything that is not over: when an event was
        accepted or claimed, or a delivery arose. None where there is nothing."""
        ...

    # --- deliveries -----------------------------------------------------------------

    async def delivery_lanes(self) -> list[Lane]:
        """Every target of every tenant's for which there are deliveries."""
        ...

    async def waiting_deliveries(
        self, tenant_id: str, target: str, *, limit: int
    ) -> list[Waiting]: ...

    async def get_parcel(self, delivery_id: int) -> Parcel | None:
        """None where it, or its event, is gone."""
        ...

    async def put_off_delivery(self, delivery: Delivery) -> None:
        """Replace it: it is tried again."""
        ...

    async def settle_delivery(
        self,
        delivery: Delivery,
        change: Callable[[Event, int], Event],
        *,
        event: Event | None = None,
        payload: bytes = b"",
    ) -> tuple[Event | None, int | None]:
        """Remove it, and change its event, with how many deliveries of it are left.

        Where it is told to a function, that is another `event`, which is put at the
        same time. The changed event, and the position of the other: both None where
        the delivery was gone already.
        """
        ...
