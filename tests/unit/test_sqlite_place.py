"""A database that is removed or replaced while the engine has it open."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from sandlot_engine.errors import Troubled, Unavailable
from sandlot_engine.store.sqlite import SqliteStore
from sandlot_engine.store.sqlite import records as records_module
from tests.fakes.things import function, record
from tests.fakes.waiting import eventually

FILES = ("engine.db", "engine.db-wal", "engine.db-shm")


@pytest.fixture
async def store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqliteStore]:
    monkeypatch.setattr(records_module, "PLACE_INTERVAL_S", 0.01)
    async with SqliteStore.open(tmp_path / "engine.db") as opened:
        yield opened


@pytest.mark.parametrize("name", FILES)
async def test_a_database_that_is_removed_takes_no_change_until_it_is_back(
    store: SqliteStore, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).rename(tmp_path / "away")

    with pytest.raises(Troubled, match="is not there any more: it is gone"):
        await store.create_function(function())
    store.append(record(), [])
    with pytest.raises(Troubled, match="is gone"):
        await store.flush()
    with pytest.raises(Unavailable, match=r"could not bill: .* is gone"):
        store.check_writing()

    (tmp_path / "away").rename(tmp_path / name)
    await store.create_function(function())
    await store.flush()
    store.check_writing()
    assert store.counters.records_behind == 0


@pytest.mark.parametrize("name", FILES)
async def test_another_file_in_its_place_is_noticed_where_nothing_is_written(
    store: SqliteStore, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    store.on_failing = lambda: told.append("failing")
    (tmp_path / "other").touch()
    (tmp_path / name).rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / name)

    async def is_noticed() -> bool:
        return bool(store.trouble)

    async def is_mended() -> bool:
        return not store.trouble

    await eventually(is_noticed)

    assert "another file was put in its place" in store.trouble
    assert told == ["failing"]
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].getMessage().startswith("records could not be written: ")
    (tmp_path / "away").replace(tmp_path / name)
    await eventually(is_mended)


async def test_no_reader_opens_or_makes_another(
    store: SqliteStore, tmp_path: Path
) -> None:
    (tmp_path / "engine.db").rename(tmp_path / "away")

    with pytest.raises(Troubled, match="is gone"):
        await store.get_function("1", "resize")

    assert not (tmp_path / "engine.db").exists()
    (tmp_path / "away").rename(tmp_path / "engine.db")


async def test_backups_vacuums_and_checkpoints_leave_it_where_it_is(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.create_function(function())

    with (
        closing(sqlite3.connect(tmp_path / "engine.db")) as shell,
        closing(sqlite3.connect(tmp_path / "backup.db")) as backup,
    ):
        shell.backup(backup)
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shell.execute("VACUUM")

    store.append(record(), [])
    await store.flush()
    store.check_writing()


async def test_what_was_written_stays_with_its_file_and_out_of_the_other(
    tmp_path: Path,
) -> None:
    file, away = tmp_path / "engine.db", tmp_path / "away"
    async with SqliteStore.open(file) as store:
        await store.create_function(function())
    backup = file.read_bytes()
    async with SqliteStore.open(file) as store:
        for number in range(50):
            await store.create_function(function(f"more-{number}"))
        file.rename(away)
        file.write_bytes(backup)

    def names(of: Path) -> int:
        with closing(sqlite3.connect(of)) as shell:
            assert shell.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (count,) = shell.execute("SELECT count(*) FROM functions").fetchone()
            return int(count)

    assert names(away) == 51
    assert names(file) == 1
