"""The functions table: a function is a JSON body plus the columns we search by."""

import json
import sqlite3
from datetime import datetime
from typing import Any

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.function import (
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    InitMode,
    Revision,
    UpdateStatus,
)
from sandlot_engine.model.network import Network
from sandlot_engine.store.sqlite.connection import Database


class SqliteFunctions:
    """`FunctionStore` over the database."""

    _database: Database

    async def create_function(self, function: Function) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "INSERT OR IGNORE INTO functions (revision_id, serving_code,"
                " pending_code, body, tenant_id, name) VALUES (?, ?, ?, ?, ?, ?)",
                _to_row(function),
            )
            if not done.rowcount:
                raise AlreadyExists(f"Function already exist: {function.name}")

        await self._database.write(insert)

    async def put_function(self, function: Function, *, expected: str) -> None:
        def update(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE functions SET revision_id = ?, serving_code = ?,"
                " pending_code = ?, body = ?"
                " WHERE tenant_id = ? AND name = ? AND revision_id = ?",
                (*_to_row(function), expected),
            )
            if not done.rowcount:
                raise _why_not_replaced(connection, function)

        await self._database.write(update)

    async def get_function(self, tenant_id: str, name: str) -> Function | None:
        rows = await self._select_functions(
            "SELECT body FROM functions WHERE tenant_id = ? AND name = ?",
            (tenant_id, name),
        )
        return rows[0] if rows else None

    async def list_functions(
        self, tenant_id: str, *, after: str, limit: int
    ) -> list[Function]:
        return await self._select_functions(
            "SELECT body FROM functions WHERE tenant_id = ? AND name > ?"
            " ORDER BY name LIMIT ?",
            (tenant_id, after, limit),
        )

    async def all_functions(self) -> list[Function]:
        return await self._select_functions(
            "SELECT body FROM functions ORDER BY tenant_id, name", ()
        )

    async def delete_function(self, tenant_id: str, name: str) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            done = connection.execute(
                "DELETE FROM functions WHERE tenant_id = ? AND name = ?",
                (tenant_id, name),
            )
            return done.rowcount > 0

        return await self._database.write(delete)

    async def code_in_use(self, sha256: str) -> bool:
        def find(connection: sqlite3.Connection) -> bool:
            found = connection.execute(
                "SELECT 1 FROM functions WHERE serving_code = ? OR pending_code = ?"
                " LIMIT 1",
                (sha256, sha256),
            )
            return found.fetchone() is not None

        return await self._database.read(find)

    async def _select_functions(
        self, sql: str, values: tuple[object, ...]
    ) -> list[Function]:
        def select(connection: sqlite3.Connection) -> list[Function]:
            rows = connection.execute(sql, values)
            return [function_from_json(json.loads(body)) for (body,) in rows]

        return await self._database.read(select)


def function_to_json(function: Function) -> dict[str, Any]:
    """Everything of a function, as JSON values."""
    return {
        "tenant_id": function.tenant_id,
        "name": function.name,
        "serving": _revision_to_json(function.serving),
        "pending": _revision_to_json(function.pending),
        "state": function.state.value,
        "state_reason": function.state_reason,
        "update_status": function.update_status.value,
        "update_reason": function.update_reason,
        "fork_safe": function.fork_safe,
        "fork_safety_reason": function.fork_safety_reason,
        "last_modified": function.last_modified.isoformat(),
    }


def function_from_json(body: dict[str, Any]) -> Function:
    """The function that `function_to_json` wrote."""
    return Function(
        tenant_id=body["tenant_id"],
        name=body["name"],
        serving=_revision_from_json(body["serving"]),
        pending=_revision_from_json(body["pending"]),
        state=FunctionState(body["state"]),
        state_reason=body["state_reason"],
        update_status=UpdateStatus(body["update_status"]),
        update_reason=body["update_reason"],
        fork_safe=body["fork_safe"],
        fork_safety_reason=body["fork_safety_reason"],
        last_modified=datetime.fromisoformat(body["last_modified"]),
    )


def _revision_to_json(revision: Revision | None) -> dict[str, Any] | None:
    if revision is None:
        return None
    code, config = revision.code, revision.config
    return {
        "id": revision.id,
        "code": {
            "sha256": code.sha256,
            "size": code.size,
            "unpacked_size": code.unpacked_size,
        },
        "config": {
            "handler": config.handler,
            "runtime": config.runtime,
            "memory_mb": config.memory_mb,
            "timeout_s": config.timeout_s,
            "environment": config.environment,
            "ephemeral_storage_mb": config.ephemeral_storage_mb,
            "description": config.description,
            "init_mode": config.init_mode.value,
            "network": config.network.value,
        },
    }


def _revision_from_json(body: dict[str, Any] | None) -> Revision | None:
    if body is None:
        return None
    config = dict(body["config"])
    config["init_mode"] = InitMode(config["init_mode"])
    # Schema 1 had no networks.
    config["network"] = Network(config.get("network", Network.NONE))
    return Revision(
        id=body["id"], code=Code(**body["code"]), config=FunctionConfig(**config)
    )


def _to_row(function: Function) -> tuple[str | None, ...]:
    return (
        function.current.id,
        function.serving.code.sha256 if function.serving else None,
        function.pending.code.sha256 if function.pending else None,
        json.dumps(function_to_json(function), separators=(",", ":")),
        function.tenant_id,
        function.name,
    )


def _why_not_replaced(
    connection: sqlite3.Connection, function: Function
) -> NotFound | Conflict:
    exists = connection.execute(
        "SELECT 1 FROM functions WHERE tenant_id = ? AND name = ?",
        (function.tenant_id, function.name),
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
