"""Answers in a database from before they were counted by function."""

import sqlite3
from datetime import timedelta
from pathlib import Path

from sandlot_engine.store.ports import AnswerBounds
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.store.sqlite.migrations import schema_steps
from sandlot_engine.store.sqlite.times import to_us
from tests.fakes.answers import LONG_AGO, NOW, answer

BOUNDS = AnswerBounds(answers=4, bytes=10_000, all_bytes=100_000)


async def test_those_that_there_are_count(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    connection = sqlite3.connect(path)
    connection.executescript("".join(schema_steps()[:6]) + "PRAGMA user_version = 6;")
    connection.executemany(
        "INSERT INTO answers (tenant_id, function, key, request, time, size, body)"
        " VALUES ('1', ?, ?, x'', ?, 4, x'626f6479')",
        [
            (function, bytes([number]), to_us(NOW - timedelta(hours=1)))
            for number, function in enumerate("gfff")
        ],
    )
    connection.commit()
    connection.close()

    async with SqliteStore.open(path) as store:
        evicted = await store.keep_answer(
            answer(b"new", function="h"), since=LONG_AGO, bounds=BOUNDS
        )
        others = await store.find_answer("1", "g", b"\0")
        first = await store.find_answer("1", "f", b"\1")

    assert evicted == 1
    assert others is not None
    assert first is None
