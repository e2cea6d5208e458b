"""What `/metrics` tells of events, by name."""

from collections.abc import Callable, Mapping

from sandlot_engine.events.queue import EventQueue

Readings = Mapping[str, tuple[str, Callable[[], float]]]

_COUNTED = {
    "accepted": "Events that were accepted.",
    "repeated": "Events that were sent again with the id of one that was there.",
    "succeeded": "Events that were over because their function succeeded.",
    "failed": "Events that were over otherwise, and somebody was told.",
    "dead": "Events that were over otherwise, and nobody could be told.",
    "retried": "Times that an event was to be tried again after a failure.",
    "throttled": "Times that there was no room for an event.",
    "interrupted": "Times that an engine ended while an event ran.",
    "redriven": "Dead events that were run again.",
    "dead_dropped": "Dead letters that were deleted: purged, too old, or too many.",
    "delivered": "Destinations and dead-letter targets that were told.",
    "delivery_retried": "Times that one of those was not to be told.",
    "undelivered_destination": "Destinations that could not be told.",
    "undelivered_dead_letter": "Dead-letter targets that could not be told.",
}


def gauges(queue: EventQueue) -> Readings:
    return {
        "events_waiting": (
            "Events that are not over.",
            lambda: queue.depths.queued,
        ),
        "events_waiting_bytes": (
            "Bytes of their payloads.",
            lambda: queue.depths.queued_bytes,
        ),
        "event_followers": (
            "Callers who wait for an event to be over.",
            lambda: queue.followers,
        ),
        "events_running": ("Events that run.", lambda: queue.lanes.running),
        "events_parked": (
            "Functions whose events wait because there was no room for them.",
            lambda: queue.lanes.parked,
        ),
        "events_dead_kept": (
            "Events in dead-letter stores.",
            lambda: queue.depths.dead,
        ),
    }


def counters(queue: EventQueue) -> Readings:
    def reading(name: str) -> Callable[[], float]:
        return lambda: queue.counts[name]

    return {f"events_{name}": (what, reading(name)) for name, what in _COUNTED.items()}
