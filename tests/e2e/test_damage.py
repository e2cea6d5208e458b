"""What is damaged on disk, or gone: told, and nobody else is any worse for it."""

import os
import re
import shutil
import sqlite3
import urllib.request
from contextlib import closing

import pytest

from sandlot import Schedule, errors
from tests.e2e.bills import bill_of
from tests.e2e.conftest import client_of, deploy_guest
from tests.e2e.engines import Engine
from tests.e2e.test_trouble import health_of
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of

NEW = zip_of({"app.py": "def handler(event, context): return 'new'"})


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
    assert f"{name} belongs to user 0" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", [0, 2])
def test_while_the_database_is_not_in_its_place_nothing_is_run(
    unstarted_engine: Engine, workers: int
) -> None:
    engine = unstarted_engine
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
    (line,) = bill_of(engine.client()).lines
    assert line.invocations == 2


@pytest.mark.parametrize("name", ["code", "runtimes"])
def test_a_folder_that_is_not_in_its_place_is_told_in_one_line(
    fresh_engine: Engine, name: str
) -> None:
    client = fresh_engine.client()
    warm, old = deploy_guest(client, "counter"), deploy_guest(client, "counter")
    warm.invoke({})
    folder, away = fresh_engine.data / name, fresh_engine.data / "away"

    folder.rename(away)
    for _ in range(2):
        status, health = health_of(fresh_engine)
        assert (status, health["status"]) == (503, "unavailable")
        assert f"The folder {name}/ of" in health["reason"]
        with pytest.raises(errors.Unavailable, match=f"The folder {name}/ of .* gone"):
            client.deploy(NEW, name="new", handler="app.handler")
        with pytest.raises(errors.DeployFailed, match=f"The folder {name}/ of .* gone"):
            client.update_function(old.name, memory=256)
        assert warm.invoke({}).payload is not None
    told = [
        each for each in fresh_engine.said.splitlines() if f"folder {name}/" in each
    ]
    away.rename(folder)

    assert len(told) == 1
    assert "Traceback" not in fresh_engine.said
    assert health_of(fresh_engine)[0] == 200
    assert client.deploy(NEW, name="new", handler="app.handler").invoke().value == "new"
    assert client.update_function(old.name, memory=256).memory_mb == 256


def test_another_folder_in_the_place_of_that_with_code_is_told(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    function = deploy_guest(client, "counter")
    code = fresh_engine.data / "code"
    code.rename(code.with_name("away"))
    shutil.copytree(code.with_name("away"), code)

    with pytest.raises(errors.Unavailable, match="is not the one that it started"):
        client.deploy(NEW, name="new", handler="app.handler")
    client.delete_function(function.name)

    assert "Traceback" not in fresh_engine.said
