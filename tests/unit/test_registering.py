"""Which interpreters may be registered: what they show, and who could change them."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

from sandlot_sandbox.launcher import registering, registry
from sandlot_sandbox.launcher.registry import Registered
from tests.fakes.interpreters import LABELLED, copied_python

OTHER = 12_345


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another interpreter than our own, with a prefix of its own."""
    return copied_python(tmp_path_factory.mktemp("interpreter"))


def _examined(tmp_path: Path, path: str, name: str = LABELLED) -> Registered:
    (found,) = registering.examine(
        tmp_path / "store", {name: path}, data=tmp_path / "data"
    )
    return found


def test_an_interpreter_by_its_path_is_a_runtime(python: Path, tmp_path: Path) -> None:
    found = _examined(tmp_path, str(python))

    assert (found.problem, found.name, found.path) == ("", LABELLED, str(python))
    assert found.runtime is not None
    assert found.runtime.prefix == python.parents[1]
    assert found.runtime.python == python
    assert registering.mounted(found.runtime) == python.parents[1]
    code = found.runtime.guest_code / "sandlot_sandbox" / "guest"
    assert list(code.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 1", "does not say that it is a CPython"),
        ('echo \'["2.7.18", "/", "cpython", ""]\'', "does not say"),
    ],
)
def test_a_program_that_is_something_else_is_none(
    tmp_path: Path, text: str, why: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)

    found = _examined(tmp_path, str(program))

    assert found.runtime is None
    assert why in found.problem


def test_a_relative_path_a_missing_file_and_a_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")

    assert "no absolute path" in _examined(tmp_path, "python3").problem
    assert "is not there" in _examined(tmp_path, f"{tmp_path}/nothing").problem
    assert "no program" in _examined(tmp_path, f"{tmp_path}/text").problem
    assert "no program" in _examined(tmp_path, str(tmp_path)).problem


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_what_everybody_may_change_is_not_even_run(tmp_path: Path, mode: int) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho > {ran}\n")
    program.chmod(mode)

    assert "everybody may change" in _examined(tmp_path, str(program)).problem
    assert not ran.exists()


def test_what_lies_in_a_folder_that_everybody_may_change_is_not_run(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    program = folder / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    assert "everybody may change" in _examined(tmp_path, str(program)).problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_another_user_s_is_not_run(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    os.chown(program, OTHER, OTHER)

    assert f"user {OTHER} may change" in _examined(tmp_path, str(program)).problem


@pytest.mark.parametrize(
    "prefix",
    [
        *("/", "/home", "/root", "/etc", "/opt", "/usr"),
        *("/etc/ssl", "/etc/a/b/c", "/proc/1/root", "/sys/kernel", "/dev/shm"),
        *("/run/user/1000", "/boot/grub", "/usr/lib", "/var/lib", "/var/log"),
    ],
)
def test_a_prefix_that_is_all_of_the_machine_s_is_refused(
    prefix: str, tmp_path: Path
) -> None:
    trouble = registering.trouble_with_prefix(Path(prefix), data=tmp_path)

    assert f"{prefix} would be in the jail of every function" in trouble


def test_a_prefix_with_the_engine_s_data_or_a_home_in_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "people" / "me"))
    data = tmp_path / "engine" / "data"

    def trouble(folder: str) -> str:
        return registering.trouble_with_prefix(tmp_path / folder, data=data)

    assert "the engine's data" in trouble("engine")
    assert "the engine's data" in trouble("engine/data")
    assert "the home directory" in trouble("people")
    assert "the home directory" in trouble("people/me")
    assert "keep for a person" in trouble("people/me/.local")
    assert "in the engine's data" in trouble("engine/data/code/abc")
    for own in ("own", "people/me/python", "people/me/.pyenv/versions/3.12"):
        (tmp_path / own).mkdir(parents=True)
        assert trouble(own) == ""


def test_where_an_administrator_s_own_are_is_not_the_machine_s(tmp_path: Path) -> None:
    trouble = registering.trouble_with_prefix(Path("/usr/local"), data=tmp_path)

    assert "all of the machine's" not in trouble


def test_what_a_tenant_may_have_uploaded_is_not_even_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "data" / "code" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho > {ran}\n")
    program.chmod(0o755)

    assert "in the engine's data" in _examined(tmp_path, str(program)).problem
    assert not ran.exists()


def test_a_program_that_stands_for_one_that_everybody_may_change_is_refused(
    tmp_path: Path,
) -> None:
    """As a virtual environment's does: what is run from then on is the other."""
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    ran = tmp_path / "ran"
    base = prefix / "bin" / "python3.12"
    base.write_text(f"#!/bin/sh\necho > {ran}\n")
    base.chmod(0o757)
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\necho \'["3.12.1", "{prefix}", "cpython", "{base}"]\'\n'
    )
    program.chmod(0o755)

    found = _examined(tmp_path, str(program), "python3.12-own")

    assert f"everybody may change {base}" in found.problem
    assert not ran.exists()


def test_a_prefix_that_others_may_change_is_refused(tmp_path: Path) -> None:
    prefix = tmp_path / "py"
    (prefix / "bin").mkdir(parents=True)
    prefix.chmod(0o757)

    trouble = registering.trouble_with_prefix(prefix, data=tmp_path / "data")

    assert trouble.startswith("everybody may change")


def test_what_is_gone_at_the_next_start_stays_registered_and_says_why(
    python: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(python.parents[1], gone, symlinks=True)
    store = tmp_path / "store"
    store.mkdir()
    entry = _examined(tmp_path, str(gone / "bin" / python.name))
    assert entry.runtime is not None
    registry.write(store / registry.FILE, [entry])
    shutil.rmtree(gone)

    (renewed,) = registering.renew(store, data=tmp_path / "data")

    assert (renewed.name, renewed.runtime) == (LABELLED, None)
    assert "is not there" in renewed.problem
    assert registry.read(store / registry.FILE) == [renewed]


def test_a_start_does_not_write_over_what_a_command_is_registering(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    entry = Registered(LABELLED, str(tmp_path / "nothing"), None, "as it was")
    registry.write(store / registry.FILE, [entry])
    command = os.open(store, os.O_RDONLY)
    fcntl.flock(command, fcntl.LOCK_EX)

    with pytest.raises(TimeoutError, match="sandlot runtime"):
        registering.renew(store, data=tmp_path / "data", wait_s=0)
    kept = registry.read(store / registry.FILE)
    os.close(command)
    (renewed,) = registering.renew(store, data=tmp_path / "data", wait_s=0)

    assert kept == [entry]
    assert "is not there" in renewed.problem


def test_a_node_is_asked_as_a_node(tmp_path: Path) -> None:
    program = tmp_path / "prefix" / "bin" / "node"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho \'["20.1.0", "{program}"]\'\n')
    program.chmod(0o755)

    found = _examined(tmp_path, str(program), "nodejs20.x-own").runtime
    other = _examined(tmp_path, str(program), "nodejs22.x-own")

    assert found is not None
    assert (found.name, found.version, found.language) == (
        *("nodejs20.x-own", "20.1.0"),
        tmp_path / "prefix",
    )
    assert found.runs[0] == "/var/lang/bin/node"
    assert found.python == Path(sys.base_prefix).resolve() / "bin" / (
        f"python3.{sys.version_info[1]}"
    )
    assert "does not say that it is a Node 22" in other.problem
