"""The tables of events: what is searched by is a column, the rest is JSON."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sandlot_engine.errors import SandlotError
from sandlot_engine.model.event import Event, EventState
from sandlot_engine.store.event_ports import Depth, Lane, Settled, Waiting
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.damage import (
    SET_ASIDE,
    UNREADABLE,
    SqliteDamage,
    set_aside,
)
from sandlot_engine.store.sqlite.deliveries import insert_deliveries
from sandlot_engine.store.sqlite.event_rows import (
    COLUMNS,
    NUMBERS,
    STATES,
    body_of,
    event_of,
    insert_event,
    update_event,
)
from sandlot_engine.store.sqlite.records import insert_records
from sandlot_engine.store.sqlite.times import from_us, to_us


class SqliteEvents(SqliteDamage):
    """The events of `EventStore` over the database; `SqliteDeliveries` has the rest."""

    _database: Database

    async def put_event(self, event: Event, payload: bytes) -> int | None:
        body = body_of(event)
        return await self._database.write(
            lambda connection: insert_event(connection, event, body, payload)
        )

    async def claim_events(
        self, positions: Sequence[int], *, now: datetime
    ) -> list[tuple[Event, bytes]]:
        def claim(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            found = (_claim(connection, each, to_us(now)) for each in positions)
            return [row for row in found if row is not None]

        rows = await self._database.write(claim, durable=False)
        return [(event, row[-1]) for event, row in await self._readable(rows)]

    async def settle_event(self, settled: Settled) -> bool:
        body = body_of(settled.event)

        def settle(connection: sqlite3.Connection) -> bool:
            # The bill is of what ran, whether anybody still knows the event or not.
            if settled.record is not None:
                insert_records(connection, [settled.record])
            if not update_event(connection, settled.event, body):
                return False
            _keep_response(connection, settled)
            insert_deliveries(connection, settled.deliveries)
            return True

        return await self._database.write(settle, durable=False)

    async def waiting_lanes(self) -> list[Lane]:
        rows = await self._select(
            "SELECT tenant_id, function, min(due) FROM events WHERE state = 0"
            " GROUP BY tenant_id, function"
        )
        return [
            Lane(tenant_id=tenant_id, name=function, first_due=from_us(due))
            for tenant_id, function, due in rows
        ]

    async def waiting_events(
        self, tenant_id: str, function: str, *, limit: int
    ) -> list[Waiting]:
        rows = await self._select(
            "SELECT position, due, size FROM events"
            " WHERE tenant_id = ? AND function = ? AND state = 0"
            " ORDER BY due, position LIMIT ?",
            tenant_id,
            function,
            limit,
        )
        return [
            Waiting(position=position, due=from_us(due), size=size)
            for position, due, size in rows
        ]

    async def running_events(self, *, limit: int) -> list[tuple[Event, datetime]]:
        found: list[tuple[Event, tuple[Any, ...]]] = []
        while not found:
            rows = await self._select(
                f"SELECT {COLUMNS}, claimed FROM events WHERE state = 1"  # noqa: S608 -- constants
                " ORDER BY position LIMIT ?",
                limit,
            )
            if not rows:
                break
            # All of them may be set aside, and there be more behind them.
            found = await self._readable(rows)
        return [(event, from_us(row[-1])) for event, row in found]

    async def event_depths(self) -> list[Depth]:
        return [
            Depth(tenant_id=tenant_id, state=STATES[state], count=count, size=size)
            for tenant_id, state, count, size in await self._select(
                "SELECT tenant_id, state, count(*), sum(size) FROM events"
                " WHERE state < ? GROUP BY tenant_id, state",
                SET_ASIDE,
            )
        ]

    async def get_event(self, tenant_id: str, request_id: str) -> Event | None:
        rows = await self._select(
            f"SELECT {COLUMNS} FROM events"  # noqa: S608 -- constants
            " WHERE tenant_id = ? AND request_id = ? AND state < ?",
            tenant_id,
            request_id,
            SET_ASIDE,
        )
        return next((event for event, _ in await self._readable(rows)), None)

    async def event_payload(self, position: int) -> bytes | None:
        rows = await self._select(
            "SELECT payload FROM event_payloads WHERE position = ?", position
        )
        return rows[0][0] if rows else None

    async def list_events(
        self,
        tenant_id: str,
        *,
        function: str = "",
        states: Sequence[EventState] = (),
        before: int = 0,
        limit: int,
    ) -> list[Event]:
        clauses, values = _where(tenant_id, function=function, states=states)
        clauses.append("state < ?")
        values.append(SET_ASIDE)
        if before:
            clauses.append("position < ?")
            values.append(before)
        rows = await self._select(
            f"SELECT {COLUMNS} FROM events"  # noqa: S608 -- constants
            f" WHERE {' AND '.join(clauses)} ORDER BY position DESC LIMIT ?",
            *values,
            limit,
        )
        return [event for event, _ in await self._readable(rows)]

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
        clauses, values = _where(tenant_id, function=function, states=states)
        # Named as the index has it, which is for those that are over.
        clauses.append("state >= 3")
        if ended_before is not None:
            clauses.append("ended < ?")
            values.append(to_us(ended_before))
        if request_id:
            clauses.append("request_id = ?")
            values.append(request_id)

        def delete(connection: sqlite3.Connection) -> list[tuple[int, int]]:
            found = connection.execute(
                "SELECT position, state, size FROM events"  # noqa: S608 -- constants
                f" WHERE {' AND '.join(clauses)} ORDER BY ended LIMIT ?",
                (*values, limit),
            ).fetchall()
            gone = [(position,) for position, _, _ in found]
            connection.executemany("DELETE FROM events WHERE position = ?", gone)
            connection.executemany(
                "DELETE FROM event_payloads WHERE position = ?", gone
            )
            return [(state, size) for _, state, size in found]

        return [
            Depth(tenant_id=tenant_id, state=STATES[state], count=1, size=size)
            for state, size in await self._database.write(delete, durable=False)
        ]

    async def shift_events(self, by: timedelta, *, now: datetime) -> None:
        us = by // timedelta(microseconds=1)

        def shift(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE events SET accepted = accepted + ?, due = due + ?,"
                " claimed = claimed + ? WHERE state < 3",
                (us, us, us),
            )
            # Or a clock that is years ahead for a minute deletes all dead letters.
            connection.execute(
                "UPDATE events SET ended = min(ended + ?, ?)"
                " WHERE state >= 3 AND ended IS NOT NULL",
                (us, to_us(now)),
            )
            connection.execute(
                "UPDATE deliveries SET due = due + ?, since = since + ?", (us, us)
            )

        await self._database.write(shift)

    async def latest_time(self) -> datetime | None:
        [(latest,)] = await self._select(
            "SELECT max(time) FROM (SELECT max(accepted, ifnull(claimed, 0)) AS time"
            " FROM events WHERE state < 3 UNION ALL SELECT since FROM deliveries)"
        )
        return None if latest is None else from_us(latest)

    async def _readable(
        self, rows: Sequence[tuple[Any, ...]]
    ) -> list[tuple[Event, tuple[Any, ...]]]:
        """The events of rows that begin with `COLUMNS`; the others are set aside."""
        found: list[tuple[Event, tuple[Any, ...]]] = []
        damaged: list[int] = []
        for row in rows:
            try:
                found.append((event_of(row), row))
            except UNREADABLE as error:
                damaged.append(row[0])
                self.note_damaged(f"the event at position {row[0]}", error)
        if damaged:
            try:
                await self._database.write(
                    partial(set_aside, positions=damaged), durable=False
                )
            except SandlotError:
                # The next start does it; those that were claimed with them must run.
                if not found:
                    raise
        return found

    async def _select(self, sql: str, *values: object) -> list[Any]:
        return await self._database.read(
            lambda connection: connection.execute(sql, values).fetchall()
        )


def _claim(
    connection: sqlite3.Connection, position: int, now_us: int
) -> tuple[Any, ...] | None:
    done = connection.execute(
        "UPDATE events SET state = 1, claimed = ? WHERE position = ? AND state = 0",
        (now_us, position),
    )
    if not done.rowcount:
        return None
    row: tuple[Any, ...] = connection.execute(
        f"SELECT {COLUMNS}, payload FROM events JOIN event_payloads"  # noqa: S608 -- constants
        " USING (position) WHERE position = ?",
        (position,),
    ).fetchone()
    return row


def _keep_response(connection: sqlite3.Connection, settled: Settled) -> None:
    is_over = settled.event.state in (EventState.SUCCEEDED, EventState.FAILED)
    if settled.response is not None and not is_over:
        connection.execute(
            "UPDATE event_payloads SET response = ? WHERE position = ?",
            (settled.response, settled.event.position),
        )


def _where(
    tenant_id: str, *, function: str, states: Sequence[EventState]
) -> tuple[list[str], list[object]]:
    clauses, values = ["tenant_id = ?"], list[object]([tenant_id])
    if function:
        clauses.append("function = ?")
        values.append(function)
    if states:
        clauses.append(f"state IN ({', '.join('?' * len(states))})")
        values += [NUMBERS[state] for state in states]
    return clauses, values
