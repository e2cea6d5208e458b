"""The tables of tenants and keys. Secrets are sealed before they get here."""

import json
import sqlite3
from functools import partial
from typing import Any

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import AccessKey, Tenant
from sandlot_engine.store.sqlite.answers import forget_answers
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.damage import UNREADABLE, SqliteDamage
from sandlot_engine.store.sqlite.event_rows import delete_all_events
from sandlot_engine.store.sqlite.times import from_us, to_us

_LINES_AT_ONCE = 2_000
"""Of a log that goes with its tenant."""

_KEY = "id, tenant_id, is_operator, created"
_TENANT = "id, name, concurrency, created, network, network_allow, suspended"


class SqliteTenants(SqliteDamage):
    """`TenantStore` over the database."""

    _database: Database

    async def create_tenant(self, tenant: Tenant) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "INSERT OR IGNORE INTO tenants"
                " (name, concurrency, created, network, network_allow, suspended, id)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                _to_row(tenant),
            )
            if not done.rowcount:
                raise AlreadyExists(f"There is a tenant {tenant.id} already.")

        await self._database.write(insert)

    async def put_tenant(self, tenant: Tenant) -> None:
        def update(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE tenants SET name = ?, concurrency = ?, created = ?,"
                " network = ?, network_allow = ?, suspended = ? WHERE id = ?",
                _to_row(tenant),
            )
            if not done.rowcount:
                raise NotFound(
                    f"There is no tenant {tenant.id}.", kind="tenant", name=tenant.id
                )

        await self._database.write(update)

    async def list_tenants(self, *, after: str, limit: int) -> list[Tenant]:
        rows = await self._select_tenants(
            f"SELECT {_TENANT} FROM tenants WHERE id > ?"  # noqa: S608 -- constants
            " ORDER BY id LIMIT ?",
            (after, limit),
        )
        return self._readable_tenants(rows)

    def _readable_tenants(self, rows: list[Any]) -> list[Tenant]:
        found: list[Tenant] = []
        for row in rows:
            try:
                found.append(_tenant(row))
            except UNREADABLE as error:
                self.note_damaged(f"the tenant {row[0]}", error)
        return found

    async def delete_tenant(self, tenant_id: str) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            functions = connection.execute(
                "SELECT count(DISTINCT name) FROM functions WHERE tenant_id = ?",
                (tenant_id,),
            ).fetchone()[0]
            if functions:
                raise Conflict(
                    f"Tenant {tenant_id} still has {functions} functions. Delete "
                    "them first."
                )
            connection.execute("DELETE FROM keys WHERE tenant_id = ?", (tenant_id,))
            forget_answers(connection, tenant_id)
            delete_all_events(connection, tenant_id)
            connection.execute(
                "DELETE FROM documents WHERE tenant_id = ?", (tenant_id,)
            )
            done = connection.execute("DELETE FROM tenants WHERE id = ?", (tenant_id,))
            return done.rowcount > 0

        was_there = await self._database.write(delete)
        # Last, and by parts: it may be much, and others write, too.
        while await self._database.write(partial(_delete_some_log, tenant_id)):
            pass
        await self._database.forget()
        return was_there

    async def create_key(self, key: AccessKey, sealed_secret: bytes) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "INSERT OR IGNORE INTO keys"
                " (id, tenant_id, is_operator, created, sealed_secret)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    key.id,
                    key.tenant_id,
                    key.is_operator,
                    to_us(key.created),
                    sealed_secret,
                ),
            )
            if not done.rowcount:
                raise AlreadyExists(f"There is an access key {key.id} already.")

        await self._database.write(insert)

    async def get_key(self, access_key_id: str) -> tuple[AccessKey, bytes] | None:
        rows = await self._select_tenants(
            f"SELECT {_KEY}, sealed_secret FROM keys WHERE id = ?",  # noqa: S608 -- constants
            (access_key_id,),
        )
        return (_key(rows[0][:4]), rows[0][4]) if rows else None

    async def list_keys(
        self, tenant_id: str, *, after: str, limit: int
    ) -> list[AccessKey]:
        rows = await self._select_tenants(
            f"SELECT {_KEY} FROM keys WHERE tenant_id = ? AND id > ?"  # noqa: S608 -- constants
            " ORDER BY id LIMIT ?",
            (tenant_id, after, limit),
        )
        return [_key(row) for row in rows]

    async def delete_key(self, access_key_id: str) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            done = connection.execute("DELETE FROM keys WHERE id = ?", (access_key_id,))
            return done.rowcount > 0

        return await self._database.write(delete)

    async def _select_tenants(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        return await self._database.read(
            lambda connection: connection.execute(sql, values).fetchall()
        )


def _delete_some_log(tenant_id: str, connection: sqlite3.Connection) -> bool:
    """Whether there was any."""
    done = connection.execute(
        "DELETE FROM log WHERE (tenant_id, function, position) IN (SELECT tenant_id,"
        " function, position FROM log WHERE tenant_id = ? LIMIT ?)",
        (tenant_id, _LINES_AT_ONCE),
    )
    if not done.rowcount:
        connection.execute("DELETE FROM log_kept WHERE tenant_id = ?", (tenant_id,))
    return done.rowcount > 0


def _to_row(tenant: Tenant) -> tuple[str | int, ...]:
    return (
        tenant.name,
        tenant.concurrency,
        to_us(tenant.created),
        tenant.network.value,
        json.dumps(tenant.network_allow),
        tenant.is_suspended,
        tenant.id,
    )


def _tenant(row: tuple[str, str, int, int, str, str, int]) -> Tenant:
    tenant_id, name, concurrency, created, network, network_allow, suspended = row
    return Tenant(
        id=tenant_id,
        name=name,
        concurrency=concurrency,
        network=Network(network),
        network_allow=tuple(json.loads(network_allow)),
        is_suspended=bool(suspended),
        created=from_us(created),
    )


def _key(row: tuple[str, str, int, int]) -> AccessKey:
    key_id, tenant_id, is_operator, created = row
    return AccessKey(
        id=key_id,
        tenant_id=tenant_id,
        is_operator=bool(is_operator),
        created=from_us(created),
    )
