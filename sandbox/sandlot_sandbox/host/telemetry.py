"""What an instance's extensions have subscribed to, and what waits to be sent there.

Pure: events and the time in, batches out. Whoever is slower than its function loses
events, and is told how many; what is kept for all of them together is bounded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandlot_sandbox.host.subscription import LOGS, TELEMETRY, Subscription

MAX_KEPT = 4 << 20
"""Bytes of one instance's events that wait, or are on their way."""

MAX_ALL_KEPT = 64 << 20
"""Bytes of those of all instances together."""

MAX_PARSED = 262_144
"""Characters of a line that is looked into for the object that it may be."""

MAX_EARLY = 64
"""Events of an init that whoever subscribes during it hears of, too."""

_DROPPED = "Consumer seems to have fallen behind as it has not acknowledged receipt of"


class Room:
    """How much is kept, for all instances together."""

    def __init__(self, most: int = MAX_ALL_KEPT) -> None:
        self.most = most
        self.taken = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """To be sent to one subscriber; until that is told, it gets no other."""

    number: int
    destination: str
    body: bytes


@dataclass(eq=False, slots=True)
class _Subscriber:
    number: int
    name: str
    wants: Subscription
    waiting: list[bytes] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    """When the oldest came."""

    is_sending: bool = False
    sent_size: int = 0
    """Bytes on their way."""

    lost: tuple[int, int] = (0, 0)
    """Events and their bytes that were dropped, and of which it has not heard."""

    at_stake: tuple[int, int] = (0, 0)
    """What is lost if what is on its way does not arrive."""

    @property
    def has_news(self) -> bool:
        return bool(self.waiting or self.lost[0])


class Telemetry:
    """The telemetry of one instance. Of a log in JSON, lines that are objects are told
    as objects to who takes them so."""

    def __init__(self, room: Room, *, has_json_log: bool = False) -> None:
        self._room = room
        self._has_json_log = has_json_log
        self._subscribers: dict[str, _Subscriber] = {}
        self._early: list[tuple[str, bytes]] = []
        self._is_open = True
        self._kept = 0

    @property
    def is_open(self) -> bool:
        """Whether extensions may subscribe: until the init is over."""
        return self._is_open

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens, or may yet."""
        return self._is_open or bool(self._subscribers)

    def close_subscriptions(self) -> None:
        """The init is over."""
        self._is_open = False
        self._early = []

    def subscribe(
        self, identifier: str, name: str, path: str, wants: Subscription, *, now: float
    ) -> None:
        """Have it told this in place of what that extension wanted before."""
        old = self._subscribers.get(identifier)
        number = len(self._subscribers) if old is None else old.number
        subscriber = _Subscriber(number, name, wants)
        if old is not None:
            self._give_back(old.size)
            # What is on its way still is: or who subscribes again and again, and takes
            # nothing, has us keep more and more.
            subscriber.is_sending, subscriber.sent_size = old.is_sending, old.sent_size
        self._subscribers[identifier] = subscriber
        for kind, event in self._early:
            self._keep(subscriber, kind, event, now)
        what = {TELEMETRY: "telemetry", LOGS: "logs"}[path]
        told = {"name": name, "state": "Subscribed", "types": list(wants.kinds)}
        self.note("platform", f"platform.{what}Subscription", told, now=now)

    def note(
        self,
        kind: str,
        name: str,
        record: Mapping[str, Any] | str,
        *,
        now: float,
        at: float | None = None,
    ) -> None:
        """Something happened, of one of `subscription.KINDS`: `at` by the wall clock,
        which is asked where that is left out; `now` by the monotonic one."""
        if not self.has_listeners:
            return
        event = _event(name, record, at)
        if self._is_open and kind == "platform" and len(self._early) < MAX_EARLY:
            self._early.append((kind, event))
        as_object = self._as_object(name, record, at)
        for subscriber in self._subscribers.values():
            if as_object is not None and subscriber.wants.takes_objects:
                self._keep(subscriber, kind, as_object, now)
            else:
                self._keep(subscriber, kind, event, now)

    def next_due(self) -> float | None:
        """When `take_due` has something, by the monotonic clock."""
        times = [
            0.0 if self._is_full(each) else each.since + each.wants.timeout_s
            for each in self._subscribers.values()
            if each.has_news and not each.is_sending
        ]
        return min(times, default=None)

    def take_due(self, now: float, *, all_of_them: bool = False) -> list[Batch]:
        """What is to be sent now, even if it could wait where `all_of_them` are."""
        batches = []
        for each in self._subscribers.values():
            if not each.has_news or each.is_sending:
                continue
            is_late = now >= each.since + each.wants.timeout_s
            if all_of_them or is_late or self._is_full(each):
                batches.append(self._batch(each))
        return batches

    def note_delivered(self, number: int, *, is_delivered: bool, now: float) -> None:
        """What became of a batch."""
        for each in self._subscribers.values():
            if each.number == number and each.is_sending:
                if not is_delivered:
                    each.lost = _sum(each.lost, each.at_stake)
                    each.since = now
                self._give_back(each.sent_size)
                each.is_sending = False
                each.sent_size = 0

    def close(self) -> None:
        """Nothing is kept any more."""
        for each in self._subscribers.values():
            self._let_go(each)
        self._subscribers = {}

    # --- keeping --------------------------------------------------------------------

    def _as_object(
        self, name: str, record: Mapping[str, Any] | str, at: float | None
    ) -> bytes | None:
        """The event of a line that is an object, where somebody wants it so."""
        if not self._has_json_log or not isinstance(record, str):
            return None
        line = record.strip()
        if not line.startswith("{") or len(line) > MAX_PARSED:
            return None
        if not any(each.wants.takes_objects for each in self._subscribers.values()):
            return None
        try:
            return _event(name, json.loads(line), at)
        except (ValueError, RecursionError):
            return None

    def _keep(
        self, subscriber: _Subscriber, kind: str, event: bytes, now: float
    ) -> None:
        if kind not in subscriber.wants.kinds:
            return
        wants = subscriber.wants
        has_no_room = (
            len(subscriber.waiting) >= 2 * wants.max_items
            or subscriber.size + len(event) > 2 * wants.max_bytes
            or self._kept + len(event) > MAX_KEPT
            or self._room.taken + len(event) > self._room.most
        )
        if not subscriber.has_news:
            subscriber.since = now
        if has_no_room:
            subscriber.lost = _sum(subscriber.lost, (1, len(event)))
            return
        subscriber.waiting.append(event)
        subscriber.size += len(event)
        self._kept += len(event)
        self._room.taken += len(event)

    def _is_full(self, subscriber: _Subscriber) -> bool:
        wants = subscriber.wants
        return (
            len(subscriber.waiting) >= wants.max_items
            or subscriber.size >= wants.max_bytes
        )

    def _batch(self, subscriber: _Subscriber) -> Batch:
        wants = subscriber.wants
        items: list[bytes] = []
        size = 0
        for event in subscriber.waiting[: wants.max_items]:
            # At least one, however large it is.
            if items and size + len(event) > wants.max_bytes:
                break
            items.append(event)
            size += len(event)
        del subscriber.waiting[: len(items)]
        subscriber.size -= size
        subscriber.is_sending, subscriber.sent_size = True, size
        subscriber.at_stake = _sum(subscriber.lost, (len(items), size))
        if subscriber.lost[0]:
            # To the one who lost them, whatever it wants to hear of.
            items.insert(0, _event("platform.logsDropped", _dropped(subscriber), None))
            subscriber.lost = (0, 0)
        if wants.is_tcp:
            body = b"".join(item + b"\n" for item in items)
        else:
            body = b"[" + b",".join(items) + b"]"
        return Batch(subscriber.number, wants.destination, body)

    def _let_go(self, subscriber: _Subscriber) -> None:
        self._give_back(subscriber.size + subscriber.sent_size)

    def _give_back(self, size: int) -> None:
        self._kept -= size
        self._room.taken -= size


def _sum(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] + second[0], first[1] + second[1]


def _dropped(subscriber: _Subscriber) -> dict[str, Any]:
    items, size = subscriber.lost
    return {
        "reason": f"{_DROPPED} events",
        "droppedRecords": items,
        "droppedBytes": size,
    }


def _event(name: str, record: Mapping[str, Any] | str, at: float | None) -> bytes:
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    event = {"time": stamp, "type": name, "record": record}
    # Numbers that JSON has not, as 1e999 becomes one, would spoil the batch.
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode()
