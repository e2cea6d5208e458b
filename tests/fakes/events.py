"""Events in memory: `MemoryEvents` passes the contract suite of `SqliteStore`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sandlot_engine.model.event import Delivery, Event, EventState
from sandlot_engine.model.invocation import Record
from sandlot_engine.store.event_ports import Depth, Lane, Parcel, Settled, Waiting


class MemoryEvents:
    """`EventStore`, nothing on disk. `failure`, if it is set, is raised by whatever
    changes something."""

    def __init__(self) -> None:
        self.all: dict[int, Event] = {}
        self.payloads: dict[int, bytes] = {}
        self.responses: dict[int, bytes] = {}
        self.claims: dict[int, datetime] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.failure: Exception | None = None
        self._last = self._last_delivery = 0
        self._keep: Callable[[Record], None] = lambda _: None
        self.damaged = 0

    def note_damaged(self, what: str, why: Exception) -> None:
        del what, why
        self.damaged += 1

    def keep_records(self, keep: Callable[[Record], None]) -> None:
        """Where the records of events go."""
        self._keep = keep

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def put_event(self, event: Event, payload: bytes) -> int | None:
        self._check()
        return self._put(event, payload)

    def _put(self, event: Event, payload: bytes) -> int | None:
        key = event.tenant_id, event.request_id
        if any((e.tenant_id, e.request_id) == key for e in self.all.values()):
            return None
        self._last += 1
        self.all[self._last] = replace(event, position=self._last)
        self.payloads[self._last] = payload
        return self._last

    async def claim_events(
        self, positions: Sequence[int], *, now: datetime
    ) -> list[tuple[Event, bytes]]:
        self._check()
        claimed = []
        for position in positions:
            event = self.all.get(position)
            if event is not None and event.state is EventState.QUEUED:
                self.all[position] = replace(event, state=EventState.RUNNING)
                self.claims[position] = now
                claimed.append((self.all[position], self.payloads[position]))
        return claimed

    async def settle_event(self, settled: Settled) -> bool:
        self._check()
        if settled.record is not None:
            self._keep(settled.record)
        position = settled.event.position
        if position not in self.all:
            return False
        self._replace(settled.event)
        if settled.response is not None and position in self.payloads:
            self.responses[position] = settled.response
        for delivery in settled.deliveries:
            self._last_delivery += 1
            self.deliveries[self._last_delivery] = replace(
                delivery, id=self._last_delivery
            )
        return True

    def _replace(self, event: Event) -> None:
        self.all[event.position] = event
        if event.state in (EventState.SUCCEEDED, EventState.FAILED):
            self.payloads.pop(event.position, None)
            self.responses.pop(event.position, None)

    async def waiting_lanes(self) -> list[Lane]:
        lanes: dict[tuple[str, str], datetime] = {}
        for event in self._waiting():
            key = event.tenant_id, event.function
            lanes[key] = min(lanes.get(key, event.due), event.due)
        return [
            Lane(tenant_id=tenant_id, name=name, first_due=due)
            for (tenant_id, name), due in sorted(lanes.items())
        ]

    def _waiting(self) -> list[Event]:
        return [e for e in self.all.values() if e.state is EventState.QUEUED]

    async def waiting_events(
        self, tenant_id: str, function: str, *, limit: int
    ) -> list[Waiting]:
        found = sorted(
            (event.due, event.position, event.size)
            for event in self._waiting()
            if (event.tenant_id, event.function) == (tenant_id, function)
        )
        return [Waiting(position=p, due=due, size=size) for due, p, size in found][
            :limit
        ]

    async def running_events(self, *, limit: int) -> list[tuple[Event, datetime]]:
        return [
            (event, self.claims[event.position])
            for event in self.all.values()
            if event.state is EventState.RUNNING
        ][:limit]

    async def event_depths(self) -> list[Depth]:
        keys = sorted({(event.tenant_id, event.state) for event in self.all.values()})
        return [
            Depth(
                tenant_id=tenant_id,
                state=state,
                count=len(sizes),
                size=sum(sizes),
            )
            for tenant_id, state in keys
            for sizes in [
                [
                    event.size
                    for event in self.all.values()
                    if (event.tenant_id, event.state) == (tenant_id, state)
                ]
            ]
        ]

    async def get_event(self, tenant_id: str, request_id: str) -> Event | None:
        for event in self.all.values():
            if (event.tenant_id, event.request_id) == (tenant_id, request_id):
                return event
        return None

    async def event_payload(self, position: int) -> bytes | None:
        return self.payloads.get(position)

    async def list_events(
        self,
        tenant_id: str,
        *,
        function: str = "",
        states: Sequence[EventState] = (),
        before: int = 0,
        limit: int,
    ) -> list[Event]:
        return [
            event
            for position, event in sorted(self.all.items(), reverse=True)
            if event.tenant_id == tenant_id
            and function in ("", event.function)
            and (not states or event.state in states)
            and (not before or position < before)
        ][:limit]

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
        self._check()
        found = sorted(
            (event.ended, event.position, event)
            for event in self.all.values()
            if event.tenant_id == tenant_id
            and event.state in states
            and event.ended is not None
            and event.state.is_final
            and (ended_before is None or event.ended < ended_before)
            and function in ("", event.function)
            and request_id in ("", event.request_id)
        )
        for _, position, _ in found[:limit]:
            del self.all[position]
            self.payloads.pop(position, None)
        return [
            Depth(tenant_id=tenant_id, state=event.state, count=1, size=event.size)
            for _, _, event in found[:limit]
        ]

    async def shift_events(self, by: timedelta, *, now: datetime) -> None:
        self._check()
        for position, event in self.all.items():
            if not event.state.is_final:
                self.all[position] = replace(
                    event, accepted=event.accepted + by, due=event.due + by
                )
                if position in self.claims:
                    self.claims[position] += by
            elif event.ended is not None:
                ended = min(event.ended + by, now)
                self.all[position] = replace(event, ended=ended)
        for id_, delivery in self.deliveries.items():
            self.deliveries[id_] = replace(
                delivery, due=delivery.due + by, since=delivery.since + by
            )

    async def latest_time(self) -> datetime | None:
        self._check()
        live = [each for each in self.all.values() if not each.state.is_final]
        times = [each.accepted for each in live]
        times += [self.claims[e.position] for e in live if e.position in self.claims]
        times += [each.since for each in self.deliveries.values()]
        return max(times, default=None)

    async def delivery_lanes(self) -> list[Lane]:
        lanes: dict[tuple[str, str], datetime] = {}
        for each in self.deliveries.values():
            key = each.tenant_id, each.target
            lanes[key] = min(lanes.get(key, each.due), each.due)
        return [
            Lane(tenant_id=tenant_id, name=name, first_due=due)
            for (tenant_id, name), due in sorted(lanes.items())
        ]

    async def waiting_deliveries(
        self, tenant_id: str, target: str, *, limit: int
    ) -> list[Waiting]:
        found = sorted(
            (each.due, each.id)
            for each in self.deliveries.values()
            if (each.tenant_id, each.target) == (tenant_id, target)
        )
        return [Waiting(position=id_, due=due) for due, id_ in found][:limit]

    async def get_parcel(self, delivery_id: int) -> Parcel | None:
        delivery = self.deliveries.get(delivery_id)
        if delivery is None or delivery.position not in self.payloads:
            return None
        return Parcel(
            delivery=delivery,
            event=self.all[delivery.position],
            payload=self.payloads[delivery.position],
            response=self.responses.get(delivery.position),
        )

    async def put_off_delivery(self, delivery: Delivery) -> None:
        self._check()
        if delivery.id in self.deliveries:
            self.deliveries[delivery.id] = delivery

    async def settle_delivery(
        self,
        delivery: Delivery,
        change: Callable[[Event, int], Event],
        *,
        event: Event | None = None,
        payload: bytes = b"",
    ) -> tuple[Event | None, int | None]:
        self._check()
        told = self.all.get(delivery.position)
        if self.deliveries.pop(delivery.id, None) is None or told is None:
            return None, None
        left = sum(d.position == delivery.position for d in self.deliveries.values())
        changed = change(told, left)
        self._replace(changed)
        return changed, None if event is None else self._put(event, payload)

    def forget_events(self, tenant_id: str) -> None:
        """Its tenant goes."""
        for position, event in list(self.all.items()):
            if event.tenant_id == tenant_id:
                del self.all[position]
                self.payloads.pop(position, None)
        for id_, delivery in list(self.deliveries.items()):
            if delivery.tenant_id == tenant_id:
                del self.deliveries[id_]
