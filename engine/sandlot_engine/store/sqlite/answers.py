"""The answers table: what repeats of an invocation are answered with."""

import sqlite3
from datetime import datetime

from sandlot_engine.store.ports import AnswerBounds, KeptAnswer
from sandlot_engine.store.sqlite.connection import Database
from sandlot_engine.store.sqlite.times import from_us, to_us

_THIS = "tenant_id = ? AND function = ? AND key = ?"


class SqliteAnswers:
    """`AnswerStore` over the database."""

    _database: Database

    async def find_answer(
        self, tenant_id: str, function: str, key: bytes
    ) -> KeptAnswer | None:
        def find(connection: sqlite3.Connection) -> KeptAnswer | None:
            row = connection.execute(
                f"SELECT request, time, body FROM answers WHERE {_THIS}",  # noqa: S608 -- a constant
                (tenant_id, function, key),
            ).fetchone()
            if row is None:
                return None
            return KeptAnswer(
                tenant_id=tenant_id,
                function=function,
                key=key,
                request=row[0],
                time=from_us(row[1]),
                body=row[2],
            )

        return await self._database.read(find)

    async def keep_answer(
        self, answer: KeptAnswer, *, since: datetime, bounds: AnswerBounds
    ) -> int:
        this = (answer.tenant_id, answer.function, answer.key)

        def keep(connection: sqlite3.Connection) -> int:
            # Not REPLACE, for which no trigger counts what goes.
            connection.execute("DELETE FROM answers WHERE time < ?", (to_us(since),))
            connection.execute(f"DELETE FROM answers WHERE {_THIS}", this)  # noqa: S608 -- a constant
            connection.execute(
                "INSERT INTO answers"
                " (tenant_id, function, key, request, time, size, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *this,
                    answer.request,
                    to_us(answer.time),
                    len(answer.body),
                    answer.body,
                ),
            )
            return _make_room(connection, answer.tenant_id, bounds)

        return await self._database.write(keep)


def forget_answers(
    connection: sqlite3.Connection, tenant_id: str, function: str | None = None
) -> None:
    """A function's, or all of a tenant's, within somebody's transaction."""
    if function is None:
        connection.execute("DELETE FROM answers WHERE tenant_id = ?", (tenant_id,))
    else:
        connection.execute(
            "DELETE FROM answers WHERE tenant_id = ? AND function = ?",
            (tenant_id, function),
        )


def _make_room(
    connection: sqlite3.Connection, tenant_id: str, bounds: AnswerBounds
) -> int:
    """Delete the oldest over the bounds; how many went."""
    gone = 0
    while _is_over(connection, tenant_id, bounds):
        gone += _delete_oldest(connection, tenant_id, bounds)
    while _all_bytes(connection) > bounds.all_bytes:
        # Of whoever has the most, so that nobody pays for another's flood.
        largest = connection.execute(
            "SELECT tenant_id FROM answer_totals ORDER BY bytes DESC LIMIT 1"
        ).fetchone()
        gone += _delete_oldest(connection, largest[0], bounds)
    return gone


def _is_over(
    connection: sqlite3.Connection, tenant_id: str, bounds: AnswerBounds
) -> bool:
    row = connection.execute(
        "SELECT answers, bytes FROM answer_totals WHERE tenant_id = ?", (tenant_id,)
    ).fetchone()
    return row is not None and (row[0] > bounds.answers or row[1] > bounds.bytes)


def _delete_oldest(
    connection: sqlite3.Connection, tenant_id: str, bounds: AnswerBounds
) -> int:
    """Of the tenant's function that has the most, by either bound: strangers may call
    one with keys of their own, and are not to push out those of the others."""
    done = connection.execute(
        "DELETE FROM answers WHERE position = (SELECT min(position) FROM answers"
        " WHERE tenant_id = :tenant AND function = ("
        "SELECT function FROM answer_function_totals WHERE tenant_id = :tenant"
        " ORDER BY answers * :bytes + bytes * :answers DESC LIMIT 1))",
        {"tenant": tenant_id, "bytes": bounds.bytes, "answers": bounds.answers},
    )
    return done.rowcount


def _all_bytes(connection: sqlite3.Connection) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM answer_totals"
    ).fetchone()
    return int(row[0])
