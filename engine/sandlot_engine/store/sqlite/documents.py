"""The documents table: bodies that only whoever wrote them can read."""

import sqlite3

from sandlot_engine.store.ports import Document
from sandlot_engine.store.sqlite.connection import Database


class SqliteDocuments:
    """`DocumentStore` over the database."""

    _database: Database

    async def put_document(self, document: Document) -> None:
        def put(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO documents"
                " (tenant_id, kind, owner, key, body) VALUES (?, ?, ?, ?, ?)",
                (
                    document.tenant_id,
                    document.kind,
                    document.owner,
                    document.key,
                    document.body,
                ),
            )

        await self._database.write(put)

    async def delete_document(
        self, tenant_id: str, kind: str, owner: str, key: str
    ) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            done = connection.execute(
                "DELETE FROM documents"
                " WHERE tenant_id = ? AND kind = ? AND owner = ? AND key = ?",
                (tenant_id, kind, owner, key),
            )
            return done.rowcount > 0

        return await self._database.write(delete)

    async def delete_documents(self, tenant_id: str, kind: str, owner: str) -> int:
        return await self._database.write(
            lambda connection: delete_documents(connection, tenant_id, kind, owner)
        )

    async def all_documents(self, kind: str) -> list[Document]:
        def select(connection: sqlite3.Connection) -> list[Document]:
            rows = connection.execute(
                "SELECT tenant_id, owner, key, body FROM documents WHERE kind = ?"
                " ORDER BY tenant_id, owner, key",
                (kind,),
            )
            return [
                Document(
                    tenant_id=tenant_id, kind=kind, owner=owner, key=key, body=body
                )
                for tenant_id, owner, key, body in rows
            ]

        return await self._database.read(select)


def delete_documents(
    connection: sqlite3.Connection, tenant_id: str, kind: str, owner: str
) -> int:
    """Within somebody's transaction; how many there were."""
    done = connection.execute(
        "DELETE FROM documents WHERE tenant_id = ? AND kind = ? AND owner = ?",
        (tenant_id, kind, owner),
    )
    return done.rowcount
