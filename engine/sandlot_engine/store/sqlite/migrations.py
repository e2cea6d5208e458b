"""Schema changes: numbered SQL files, run once each and in order."""

import sqlite3
from importlib import resources

from sandlot_engine.errors import Refusal


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; `PRAGMA user_version` says how far it is.

    Raises `Refusal` on a database that a newer Sandlot has changed.
    """
    steps = schema_steps()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(steps):
        raise Refusal(
            f"This data directory has schema {version}, and this Sandlot knows "
            f"schemas up to {len(steps)}. Start the newer Sandlot that made it, or "
            "choose another data directory."
        )
    for number, sql in enumerate(steps[version:], start=version + 1):
        _run_step(connection, number, sql)


def schema_steps() -> list[str]:
    """The SQL of every step; the first makes schema 1."""
    folder = resources.files("sandlot_engine.store") / "schema"
    files = (file for file in folder.iterdir() if file.name.endswith(".sql"))
    return [file.read_text() for file in sorted(files, key=lambda file: file.name)]


def _run_step(connection: sqlite3.Connection, number: int, sql: str) -> None:
    # The version changes in the same transaction as the tables: a step that is
    # interrupted has not happened.
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
