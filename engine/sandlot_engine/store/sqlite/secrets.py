"""All that is sealed, sealed anew: in one transaction, so that it is all or nothing."""

import sqlite3
from collections.abc import Callable

from sandlot_engine.store.sqlite.connection import Database

Reseal = Callable[[str, bytes], bytes]
"""Of whose it is, and what is kept of it: what is to be kept instead."""


class SqliteSecrets:
    """Keys, and documents of one kind that have secrets in them."""

    _database: Database

    async def sealed_secrets(self, *, limit: int) -> list[tuple[str, bytes]]:
        """Of some keys: their ids, and what is sealed."""
        return await self._database.read(
            lambda connection: connection.execute(
                "SELECT id, sealed_secret FROM keys ORDER BY id LIMIT ?", (limit,)
            ).fetchall()
        )

    async def reseal(self, *, key: Reseal, kind: str, document: Reseal) -> None:
        """`key` may be called twice for each, as `document` for each of that `kind`."""

        def rewrite(connection: sqlite3.Connection) -> None:
            keys = connection.execute("SELECT id, sealed_secret FROM keys").fetchall()
            connection.executemany(
                "UPDATE keys SET sealed_secret = ? WHERE id = ?",
                [(key(key_id, sealed), key_id) for key_id, sealed in keys],
            )
            documents = connection.execute(
                "SELECT tenant_id, owner, key, body FROM documents WHERE kind = ?",
                (kind,),
            ).fetchall()
            connection.executemany(
                "UPDATE documents SET body = ?"
                " WHERE tenant_id = ? AND kind = ? AND owner = ? AND key = ?",
                [
                    (document(name, body), tenant_id, kind, owner, name)
                    for tenant_id, owner, name, body in documents
                ],
            )

        await self._database.write(rewrite)
