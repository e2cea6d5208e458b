"""`sandlot runtime`: a second interpreter, registered, used, kept and taken back."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandlot import Client, FunctionHandle
from sandlot.errors import InvalidParameter
from tests.e2e.conftest import client_of
from tests.e2e.engines import Engine, Mode
from tests.fakes.interpreters import LABELLED, NAME, copied_python
from tests.fakes.zips import zip_of

SOURCE = "import sys\ndef handler(event, context):\n    return sys.base_prefix\n"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """In a folder that an engine's user gets through to."""
    folder = Path(tempfile.mkdtemp(prefix="sandlot-python-"))
    folder.chmod(0o755)
    yield copied_python(folder)
    shutil.rmtree(folder)


@pytest.fixture
def tenant(fresh_engine: Engine) -> Client:
    return client_of(fresh_engine, fresh_engine.client().create_tenant("own"))


def _deploy(client: Client, name: str, runtime: str) -> FunctionHandle:
    """A function that says where its interpreter's library is."""
    zipped = zip_of({"app.py": SOURCE})
    return client.deploy(
        zipped, name=name, runtime=runtime, handler="app.handler", timeout=20
    )


def _listed(engine: Engine) -> dict[str, str]:
    return {one.name: one.problem for one in engine.client().list_runtimes()}


def test_what_is_registered_is_used_at_once_kept_and_taken_back(
    fresh_engine: Engine, tenant: Client, python: Path
) -> None:
    status, said = fresh_engine.run(
        "runtime", "add", LABELLED, str(python), "--json", "--quiet"
    )
    assert status == 0, said
    made = json.loads(said)
    assert made["visible"] == str(python.parents[1])
    assert made["hello_ms"] > 0

    one = _deploy(tenant, "one", LABELLED)
    assert one.invoke().value == "/var/lang"
    usual = _deploy(tenant, "usual", NAME)
    assert usual.invoke().value != str(python.parents[1])
    (listed,) = (
        each for each in fresh_engine.client().list_runtimes() if each.name == LABELLED
    )
    assert (listed.path, listed.functions) == (str(python), 1)
    assert listed.is_registered
    (seen,) = (each for each in tenant.list_runtimes() if each.name == LABELLED)
    assert (seen.path, seen.functions) == ("", 0)

    status, said = fresh_engine.run("runtime", "remove", LABELLED)
    assert status == 3
    assert "1 function uses" in said

    assert fresh_engine.stop() == 0
    fresh_engine.start()
    again = _again(fresh_engine)
    assert again.function("one").invoke().value == "/var/lang"
    again.delete_function("one")

    status, said = fresh_engine.run("runtime", "remove", LABELLED)
    assert (status, LABELLED in _listed(fresh_engine)) == (0, False)
    with pytest.raises(InvalidParameter, match=LABELLED):
        _deploy(again, "two", LABELLED)


def _again(engine: Engine) -> Client:
    """The same tenant, after a new start."""
    (tenant,) = (each for each in engine.client().list_tenants() if each.name == "own")
    return engine.client(tenant=tenant.id)


def test_what_does_not_answer_in_a_jail_is_not_registered(
    fresh_engine: Engine, python: Path
) -> None:
    """It says what it is, outside; its library is not in a jail."""
    folder = Path(tempfile.mkdtemp(prefix="sandlot-python-"))
    folder.chmod(0o755)
    try:
        prefix = folder / "prefix"
        shutil.copytree(python.parents[1], prefix)
        elsewhere = folder / "elsewhere"
        shutil.move(prefix / "lib" / NAME, elsewhere)
        (prefix / "lib" / NAME).symlink_to(elsewhere)

        status, said = fresh_engine.run(
            "runtime", "add", LABELLED, str(prefix / "bin" / NAME)
        )
    finally:
        shutil.rmtree(folder)

    assert status == 3
    assert "hello world in a jail did not work" in said
    assert LABELLED not in _listed(fresh_engine)


def test_one_that_is_gone_when_the_engine_starts_is_listed_with_why(
    fresh_engine: Engine, python: Path
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sandlot-python-"))
    folder.chmod(0o755)
    shutil.copytree(python.parents[1], folder / "prefix")
    program = str(folder / "prefix" / "bin" / NAME)
    assert fresh_engine.run("runtime", "add", LABELLED, program)[0] == 0
    assert fresh_engine.stop() == 0
    shutil.rmtree(folder)

    fresh_engine.start()

    assert "is not there" in _listed(fresh_engine)[LABELLED]
    assert f"no runtime {LABELLED}" in fresh_engine.said
    status, said = fresh_engine.run("runtime", "list")
    assert status == 0
    assert "not usable" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a user that is not the engine's")
def test_the_engine_itself_cannot_register(fresh_engine: Engine, python: Path) -> None:
    if fresh_engine.mode is not Mode.ROOT:
        pytest.skip("a rootless engine and its operator are one user")
    folder = fresh_engine.data / "runtimes"
    uid = (fresh_engine.data / "code").stat().st_uid

    done = subprocess.run(
        ["/bin/sh", "-c", f"echo > {folder}/registered.json || mv {folder} {folder}2"],
        check=False,
        capture_output=True,
        user=uid,
        group=uid,
        extra_groups=[],
    )

    assert done.returncode != 0
    assert list(folder.glob("registered*")) == []
