"""Rows of the events table, in the writer's thread: what is searched by is a column,
the rest is JSON."""

import sqlite3
from dataclasses import replace
from typing import Any

import msgspec

from sandlot_engine.model.event import Event, EventState
from sandlot_engine.store.sqlite.times import from_us, to_us

_DECODER = msgspec.json.Decoder(Event)
"""What it does not know it leaves out; what is missing has its default."""

STATES = (
    EventState.QUEUED,
    EventState.RUNNING,
    EventState.DELIVERING,
    EventState.SUCCEEDED,
    EventState.FAILED,
    EventState.DEAD,
)
"""By their numbers in the table."""

NUMBERS = {state: number for number, state in enumerate(STATES)}
COLUMNS = "position, state, accepted, due, ended, body"


def insert_event(
    connection: sqlite3.Connection, event: Event, body: str, payload: bytes
) -> int | None:
    done = connection.execute(
        "INSERT OR IGNORE INTO events"
        " (request_id, tenant_id, function, state, accepted, due, size, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.request_id,
            event.tenant_id,
            event.function,
            NUMBERS[event.state],
            to_us(event.accepted),
            to_us(event.due),
            event.size,
            body,
        ),
    )
    if not done.rowcount:
        return None
    connection.execute(
        "INSERT INTO event_payloads (position, payload) VALUES (?, ?)",
        (done.lastrowid, payload),
    )
    return done.lastrowid


def update_event(connection: sqlite3.Connection, event: Event, body: str) -> bool:
    done = connection.execute(
        "UPDATE events SET state = ?, accepted = ?, due = ?, ended = ?, body = ?"
        " WHERE position = ?",
        (
            NUMBERS[event.state],
            to_us(event.accepted),
            to_us(event.due),
            None if event.ended is None else to_us(event.ended),
            body,
            event.position,
        ),
    )
    if event.state in (EventState.SUCCEEDED, EventState.FAILED):
        connection.execute(
            "DELETE FROM event_payloads WHERE position = ?", (event.position,)
        )
    return done.rowcount > 0


def select_event(connection: sqlite3.Connection, position: int) -> Event | None:
    row = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE position = ?",  # noqa: S608 -- constants
        (position,),
    ).fetchone()
    return None if row is None else event_of(row)


def body_of(event: Event) -> str:
    return msgspec.json.encode(event).decode()


def event_of(row: tuple[Any, ...]) -> Event:
    position, state, accepted, due, ended, body = row[:6]
    return replace(
        _DECODER.decode(body),
        position=position,
        state=STATES[state],
        accepted=from_us(accepted),
        due=from_us(due),
        ended=None if ended is None else from_us(ended),
    )


def delete_all_events(connection: sqlite3.Connection, tenant_id: str) -> None:
    """Of a tenant that goes."""
    connection.execute(
        "DELETE FROM event_payloads WHERE position IN"
        " (SELECT position FROM events WHERE tenant_id = ?)",
        (tenant_id,),
    )
    for table in ("deliveries", "events"):
        connection.execute(
            f"DELETE FROM {table} WHERE tenant_id = ?",  # noqa: S608 -- constants
            (tenant_id,),
        )
