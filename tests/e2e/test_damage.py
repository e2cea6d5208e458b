"""What is damaged on disk, or gone: told, and nobody else is any worse for it."""

import os
import re
import shutil
import sqlite3
import urllib.request
from contextlib import closing

import pytest

from sandlot import Schedule, errors
from tests.e2e.conftest import client_of, deploy_guest
from tests.e2e.engines import Engine
from tests.e2e.test_trouble import health_of
from tests.e2e.waiting import wait_until


def test_rows_that_cannot_be_read_keep_no_engine_from_starting(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    whole = deploy_guest(client, "counter")
    damaged = deploy_guest(client, "counter")
    acme = client.create_tenant("acme")
    deploy_guest(client_of(fresh_engine, acme), "counter")
    for function in (whole, damaged):
        source = Schedule(expression="rate(1 day)")
        client.create_trigger(f"of-{function.name}", function.name, source)
    damaged.enqueue({"until": 0})
    fresh_engine.stop()
    with closing(sqlite3.connect(fresh_engine.data / "sandlot.db")) as connection:
        of_damaged = (damaged.name,)
        connection.execute("UPDATE functions SET body = '{' WHERE name = ?", of_damaged)
        connection.execute(
            "UPDATE documents SET body = x'ff' WHERE owner = ?", of_damaged
        )
        connection.execute("UPDATE events SET body = '{', state = 1, claimed = 0")
        connection.execute(
            "UPDATE tenants SET network = 'x' WHERE id = ?", (acme.tenant_id,)
        )
        connection.commit()

    fresh_engine.start()

    client = fresh_engine.client()
    assert client.function(whole.name).invoke().payload is not None
    assert [one.name for one in client.functions()] == [whole.name]
    address = f"{fresh_engine.ready['http']}/metrics"
    with urllib.request.urlopen(address) as answer:  # noqa: S310
        told = answer.read().decode()
    (counted,) = re.findall(r"^sandlot_rows_damaged_total (\d+)", told, re.MULTILINE)
    lines = [
        line for line in fresh_engine.said.splitlines() if "cannot be read" in line
    ]
    assert len(lines) == int(counted)
    for what in ("the tenant", "the trigger ", "the function", "the event at"):
        assert any(what in line for line in lines), what
    assert "Traceback" not in fresh_engine.said


def test_a_master_key_that_is_gone_is_told_and_not_replaced(
    fresh_engine: Engine,
) -> None:
    fresh_engine.stop()
    (fresh_engine.data / "master.key").unlink()

    status, said = fresh_engine.start_in_vain()

    assert status == 78
    assert "master.key is gone" in said
    assert "Traceback" not in said
    assert not (fresh_engine.data / "master.key").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", ["sandlot.db", "sandlot.db-wal", "sandlot.db-shm"])
def test_a_database_that_is_somebody_elses_is_told_with_what_to_do(
    fresh_engine: Engine, name: str
) -> None:
    fresh_engine.stop()
    (fresh_engine.data / name).touch(mode=0o600)
    os.chown(fresh_engine.data / name, 0, 0)

    status, said = fresh_engine.start_in_vain()

    assert status == 78
    assert f"{name} belong to user 0" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", [0, 2])
def test_while_the_database_is_not_in_its_place_nothing_is_run(
    fresh_engine: Engine, workers: int
) -> None:
    engine = fresh_engine
    if workers:
        engine.stop()
        engine.start("--workers", str(workers))
    function = deploy_guest(engine.client(), "counter")
    database, away = engine.data / "sandlot.db", engine.data / "away.db"
    function.invoke()

    database.rename(away)
    shutil.copy(away, database)
    wait_until(lambda: health_of(engine)[0] == 503, "it is noticed")
    with pytest.raises(errors.Unavailable, match="another file was put in its place"):
        function.invoke(deadline=5)
    assert "another file was put in its place" in health_of(engine)[1]["reason"]
    assert "another file was put in its place" in engine.said
    assert "Traceback" not in engine.said

    away.replace(database)
    wait_until(lambda: health_of(engine)[0] == 200, "it is back")
    function.invoke()
    (line,) = engine.client().bill().lines
    assert line.invocations == 2
