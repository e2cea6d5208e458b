"""The table of deliveries: who is to be told of events that are over."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sandlot_engine.model.event import Delivery, DeliveryKind, Event
from sandlot_engine.store.event_ports import Lane, Parcel, Waiting
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.damage import UNREADABLE, SqliteDamage, set_aside
from sandlot_engine.store.sqlite.event_rows import (
    body_of,
    insert_event,
    select_event,
    update_event,
)
from sandlot_engine.store.sqlite.times import from_us, to_us

_COLUMNS = "position, tenant_id, kind, target, due, since, tries, error"


class SqliteDeliveries(SqliteDamage):
    """The deliveries of `EventStore` over the database."""

    _database: Database

    async def delivery_lanes(self) -> list[Lane]:
        rows = await self._select_deliveries(
            "SELECT tenant_id, target, min(due) FROM deliveries"
            " GROUP BY tenant_id, target"
        )
        return [
            Lane(tenant_id=tenant_id, name=target, first_due=from_us(due))
            for tenant_id, target, due in rows
        ]

    async def waiting_deliveries(
        self, tenant_id: str, target: str, *, limit: int
    ) -> list[Waiting]:
        rows = await self._select_deliveries(
            "SELECT id, due FROM deliveries WHERE tenant_id = ? AND target = ?"
            " ORDER BY due, id LIMIT ?",
            tenant_id,
            target,
            limit,
        )
        return [Waiting(position=id_, due=from_us(due)) for id_, due in rows]

    async def get_parcel(self, delivery_id: int) -> Parcel | None:
        try:
            return await self._database.read(
                lambda connection: _parcel(connection, delivery_id)
            )
        except UNREADABLE as error:
            self.note_damaged(f"the event of delivery {delivery_id}", error)
            await self._database.write(partial(_set_aside_of, delivery_id=delivery_id))
            return None

    async def put_off_delivery(self, delivery: Delivery) -> None:
        def update(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE deliveries SET due = ?, tries = ?, error = ? WHERE id = ?",
                (to_us(delivery.due), delivery.tries, delivery.error, delivery.id),
            )

        await self._database.write(update, durable=False)

    async def settle_delivery(
        self,
        delivery: Delivery,
        change: Callable[[Event, int], Event],
        *,
        event: Event | None = None,
        payload: bytes = b"",
    ) -> tuple[Event | None, int | None]:
        def settle(connection: sqlite3.Connection) -> tuple[Event | None, int | None]:
            done = connection.execute(
                "DELETE FROM deliveries WHERE id = ?", (delivery.id,)
            )
            told = select_event(connection, delivery.position)
            if not done.rowcount or told is None:
                return None, None
            changed = change(told, _left(connection, delivery.position))
            update_event(connection, changed, body_of(changed))
            if event is None:
                return changed, None
            return changed, insert_event(connection, event, body_of(event), payload)

        return await self._database.write(settle)

    async def _select_deliveries(self, sql: str, *values: object) -> list[Any]:
        return await self._database.read(
            lambda connection: connection.execute(sql, values).fetchall()
        )


def insert_deliveries(
    connection: sqlite3.Connection, deliveries: Sequence[Delivery]
) -> None:
    connection.executemany(
        f"INSERT INTO deliveries ({_COLUMNS})"  # noqa: S608 -- constants
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.position,
                each.tenant_id,
                each.kind.value,
                each.target,
                to_us(each.due),
                to_us(each.since),
                each.tries,
                each.error,
            )
            for each in deliveries
        ],
    )


def _parcel(connection: sqlite3.Connection, delivery_id: int) -> Parcel | None:
    row = connection.execute(
        f"SELECT id, {_COLUMNS} FROM deliveries WHERE id = ?",  # noqa: S608 -- constants
        (delivery_id,),
    ).fetchone()
    if row is None:
        return None
    delivery = _delivery(row)
    event = select_event(connection, delivery.position)
    kept = connection.execute(
        "SELECT payload, response FROM event_payloads WHERE position = ?",
        (delivery.position,),
    ).fetchone()
    if event is None or kept is None:
        return None
    return Parcel(delivery=delivery, event=event, payload=kept[0], response=kept[1])


def _set_aside_of(connection: sqlite3.Connection, *, delivery_id: int) -> None:
    position = connection.execute(
        "SELECT position FROM deliveries WHERE id = ?", (delivery_id,)
    ).fetchone()
    if position is not None:
        set_aside(connection, position)


def _left(connection: sqlite3.Connection, position: int) -> int:
    left: int = connection.execute(
        "SELECT count(*) FROM deliveries WHERE position = ?", (position,)
    ).fetchone()[0]
    return left


def _delivery(row: tuple[Any, ...]) -> Delivery:
    return Delivery(
        id=row[0],
        position=row[1],
        tenant_id=row[2],
        kind=DeliveryKind(row[3]),
        target=row[4],
        due=from_us(row[5]),
        since=from_us(row[6]),
        tries=row[7],
        error=row[8],
    )
