"""Many rows in few statements.

sqlite3 gives the interpreter's lock away for each step of a statement and asks for it
again. With a step for each row, the thread that writes and the one that serves would
take it from each other thousands of times a second.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, islice

ROWS_AT_ONCE = 64
"""Of one statement. SQLite has 999 places for values at least, a row here up to 14."""


def insert(
    connection: sqlite3.Connection, into: str, rows: Iterable[Sequence[object]]
) -> None:
    """Insert `rows`, all of the same length, `into` a table and its columns. Within a
    transaction of the caller's; `into` is put into the statement as it is."""
    left = iter(rows)
    while some := tuple(islice(left, ROWS_AT_ONCE)):
        sql = _statement(into, len(some[0]), len(some))
        connection.execute(sql, tuple(chain.from_iterable(some)))


@lru_cache(maxsize=4 * ROWS_AT_ONCE)
def _statement(into: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * rows)}"  # noqa: S608 -- constants
