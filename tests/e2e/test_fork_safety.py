"""Clones of an import: what they may share is shared, what they must not is not."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandlot import Client, FunctionHandle
from tests.e2e.conftest import GUESTS, Deploy
from tests.e2e.overlaps import invoke_at_once

_CLONES = 3
_NOT_NEEDED = ("tests", "_pyinstaller", "f2py", "doc", "include", "__pycache__")
_FIND_NUMPY = "import numpy; print(numpy.__path__[0])"
_RUNTIME = f"python3.{sys.version_info.minor}"


def test_an_open_connection_is_left_to_each_instance_and_the_reason_shown(
    deploy: Deploy,
) -> None:
    function = deploy("open_connection")

    answers = invoke_at_once(function, _CLONES)

    assert all(answer["is_own"] for answer in answers)
    config = function.config()
    assert not config.fork_safe
    assert "TCP" in config.fork_safety_reason
    assert "open it inside the handler" in config.fork_safety_reason


def test_a_thread_is_left_to_each_instance_and_the_reason_shown(
    deploy: Deploy,
) -> None:
    function = deploy("background_thread")

    answers = invoke_at_once(function, _CLONES)

    assert all(answer["thread_answers"] for answer in answers)
    assert len({answer["instance"] for answer in answers}) == _CLONES
    config = function.config()
    assert not config.fork_safe
    assert "metrics" in config.fork_safety_reason


def test_pythons_own_generators_differ_between_clones(deploy: Deploy) -> None:
    function = deploy("generators")

    answers = invoke_at_once(function, _CLONES)

    _expect_all_to_differ(answers)
    config = function.config()
    assert config.fork_safe
    assert config.fork_safety_reason == ""


def test_numpys_generators_differ_between_clones(
    client: Client, numpy_zip: bytes
) -> None:
    function = _deploy_numpy(client, numpy_zip)

    answers = invoke_at_once(function, _CLONES)

    _expect_all_to_differ(answers)
    config = function.config()
    assert config.fork_safe, config.fork_safety_reason
    function.delete()


def test_a_function_can_ask_for_an_import_in_each_instance(deploy: Deploy) -> None:
    function = deploy("counter", init_mode="per-instance")

    answers = invoke_at_once(function, _CLONES)

    assert [answer["count"] for answer in answers] == [1] * _CLONES
    config = function.config()
    assert not config.fork_safe
    assert "asked for" in config.fork_safety_reason


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "import socket; socket.socket(socket.AF_UNIX).bind('/tmp/it')",
            "'/tmp/it' cannot be copied",
        ),
        ("open('/tmp/large', 'w').truncate(1 << 27)", "64 MB at most"),
        ("import subprocess; subprocess.Popen(['/bin/sleep', '99'])", "process"),
        ("import os; os.pipe()", "a pipe"),
    ],
    ids=["socket", "file", "child", "pipe"],
)
def test_what_else_an_import_leaves_behind_is_named(
    deploy: Deploy, source: str, why: str
) -> None:
    function = deploy({"app.py": f"{source}\ndef handler(event, context): return 1\n"})

    assert function.invoke().value == 1
    config = function.config()
    assert not config.fork_safe
    assert why in config.fork_safety_reason


@pytest.fixture(scope="session")
def numpy_zip() -> bytes:
    """The numpy that this interpreter has, or the machine's, as a package brings it."""
    folder = _numpy_folder()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in _files_of(folder):
            archive.write(path, path.relative_to(folder.parent))
        guest = GUESTS / "numpy_generators.py"
        archive.write(guest, guest.name)
    return buffer.getvalue()


def _deploy_numpy(client: Client, package: bytes) -> FunctionHandle:
    return client.deploy(
        package,
        name=f"numpy-{uuid4().hex[:8]}",
        handler="numpy_generators.handler",
        runtime=_RUNTIME,
        memory=512,
        timeout=60,
    )


def _numpy_folder() -> Path:
    for python in (sys.executable, _RUNTIME, "python3"):
        try:
            found = subprocess.run(
                [python, "-c", _FIND_NUMPY], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        # Its compiled parts are for one version of Python only.
        if list(Path(found.stdout.strip()).rglob(f"*cpython-3{_RUNTIME[8:]}-*.so")):
            return Path(found.stdout.strip())
    pytest.fail("numpy is not installed here: make venv, or pip install '.[dev]'")


def _files_of(folder: Path) -> Iterator[Path]:
    libraries = folder.with_name("numpy.libs")
    for root in (folder, libraries):
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root).parts
            if path.is_file() and not set(parts) & set(_NOT_NEEDED):
                yield path


def _expect_all_to_differ(answers: list[dict[str, Any]]) -> None:
    """Each generator has drawn something else in each clone."""
    drawn = [answer["drawn"] for answer in answers]
    assert {
        name: len({values[name] for values in drawn}) for name in drawn[0]
    } == dict.fromkeys(drawn[0], len(answers))
