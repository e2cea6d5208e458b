"""Rows are inserted many to a statement, all of them and in their order."""

import sqlite3
from contextlib import closing

import pytest

from sandlot_engine.store.sqlite.rows import ROWS_AT_ONCE, insert

MIXED = (1, "text", b"bytes", None)


@pytest.mark.parametrize(
    "count", [0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 3]
)
def test_all_rows_are_inserted_in_their_order(count: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (n, a, b, c, d)")
        rows = [(number, *MIXED) for number in range(count)]

        insert(connection, "t (n, a, b, c, d)", rows)

        assert connection.execute("SELECT * FROM t ORDER BY rowid").fetchall() == rows


def test_a_statement_has_no_more_places_than_any_sqlite_has() -> None:
    columns = 14  # of a record, the widest there is
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        names = ", ".join(f"c{number}" for number in range(columns))
        connection.execute(f"CREATE TABLE t ({names})")
        row = tuple(range(columns))

        insert(connection, "t", [row] * ROWS_AT_ONCE)

        assert connection.execute("SELECT count(*) FROM t").fetchone() == (
            ROWS_AT_ONCE,
        )
