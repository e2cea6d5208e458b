"""The functions table: a version is a JSON body plus the columns we search by."""

import sqlite3

import msgspec

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.function import LATEST, Function
from sandlot_engine.store.sqlite.answers import forget_answers
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.damage import UNREADABLE, SqliteDamage
from sandlot_engine.store.sqlite.documents import delete_documents

_COLUMNS = "tenant_id, name, version, body"
_DECODER = msgspec.json.Decoder(Function)
"""What it does not know it leaves out; what is missing has its default."""


class SqliteFunctions(SqliteDamage):
    """`FunctionStore` over the database."""

    _database: Database

    async def create_function(self, function: Function) -> None:
        body = _body(function)

        def insert(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "INSERT OR IGNORE INTO functions"
                " (revision_id, body, tenant_id, name, version) VALUES (?, ?, ?, ?, ?)",
                (function.revision_id, body, *_key(function)),
            )
            if not done.rowcount:
                raise AlreadyExists(f"Function already exist: {function.name}")
            _note_codes(connection, function)
            if function.version != LATEST:
                connection.execute(
                    "INSERT INTO published (tenant_id, name, last_version)"
                    " VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET last_version = max(last_version, excluded.last_version)",
                    _key(function),
                )

        await self._database.write(insert)

    async def put_function(self, function: Function, *, expected: str) -> None:
        body = _body(function)

        def update(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE functions SET revision_id = ?, body = ?"
                " WHERE tenant_id = ? AND name = ? AND version = ? AND revision_id = ?",
                (function.revision_id, body, *_key(function), expected),
            )
            if not done.rowcount:
                raise _why_not_replaced(connection, function)
            _note_codes(connection, function)

        await self._database.write(update)

    async def get_function(
        self, tenant_id: str, name: str, version: str = LATEST
    ) -> Function | None:
        rows = await self._select_functions(
            f"SELECT {_COLUMNS} FROM functions"  # noqa: S608 -- constants
            " WHERE tenant_id = ? AND name = ? AND version = ?",
            (tenant_id, name, version),
        )
        return rows[0] if rows else None

    async def all_functions(self) -> list[Function]:
        return await self._select_functions(
            f"SELECT {_COLUMNS} FROM functions"  # noqa: S608 -- constants
            " ORDER BY tenant_id, name, version",
            (),
        )

    async def delete_function(
        self, tenant_id: str, name: str, *, kinds: tuple[str, ...] = ()
    ) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            connection.execute(
                "DELETE FROM code_uses WHERE tenant_id = ? AND name = ?",
                (tenant_id, name),
            )
            for kind in kinds:
                delete_documents(connection, tenant_id, kind, name)
            forget_answers(connection, tenant_id, name)
            done = connection.execute(
                "DELETE FROM functions WHERE tenant_id = ? AND name = ?",
                (tenant_id, name),
            )
            return done.rowcount > 0

        return await self._database.write(delete)

    async def delete_version(self, tenant_id: str, name: str, version: str) -> bool:
        key = tenant_id, name, version

        def delete(connection: sqlite3.Connection) -> bool:
            _forget_codes(connection, key)
            done = connection.execute(
                "DELETE FROM functions WHERE tenant_id = ? AND name = ?"
                " AND version = ?",
                key,
            )
            return done.rowcount > 0

        return await self._database.write(delete)

    async def last_version(self, tenant_id: str, name: str) -> int:
        def find(connection: sqlite3.Connection) -> int:
            found = connection.execute(
                "SELECT last_version FROM published WHERE tenant_id = ? AND name = ?",
                (tenant_id, name),
            ).fetchone()
            return found[0] if found is not None else 0

        return await self._database.read(find)

    async def code_in_use(self, sha256: str) -> bool:
        def find(connection: sqlite3.Connection) -> bool:
            found = connection.execute(
                "SELECT 1 FROM code_uses WHERE sha256 = ? LIMIT 1", (sha256,)
            )
            return found.fetchone() is not None

        return await self._database.read(find)

    async def _select_functions(
        self, sql: str, values: tuple[object, ...]
    ) -> list[Function]:
        rows = await self._database.read(
            lambda connection: connection.execute(sql, values).fetchall()
        )
        found: list[Function] = []
        for *key, body in rows:
            try:
                found.append(_DECODER.decode(body))
            except UNREADABLE as error:
                self.note_damaged(f"the function {':'.join(key)}", error)
        return found


def _key(function: Function) -> tuple[str, str, str]:
    return function.tenant_id, function.name, function.version


def _body(function: Function) -> str:
    return msgspec.json.encode(function).decode()


def _note_codes(connection: sqlite3.Connection, function: Function) -> None:
    key = _key(function)
    _forget_codes(connection, key)
    connection.executemany(
        "INSERT INTO code_uses (sha256, tenant_id, name, version) VALUES (?, ?, ?, ?)",
        [(sha256, *key) for sha256 in function.hashes],
    )


def _forget_codes(connection: sqlite3.Connection, key: tuple[str, str, str]) -> None:
    connection.execute(
        "DELETE FROM code_uses WHERE tenant_id = ? AND name = ? AND version = ?", key
    )


def _why_not_replaced(
    connection: sqlite3.Connection, function: Function
) -> NotFound | Conflict:
    exists = connection.execute(
        "SELECT 1 FROM functions WHERE tenant_id = ? AND name = ? AND version = ?",
        _key(function),
    ).fetchone()
    if exists is None:
        return NotFound(
            f"Function not found: {function.name}", kind="function", name=function.name
        )
    return Conflict(
        f"Function {function.name} has changed in the meantime. Read it again, then "
        "repeat the change.",
        reason="PreconditionFailed",
    )
