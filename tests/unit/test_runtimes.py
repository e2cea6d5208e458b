"""Interpreters: found, tried, and given the guest's code."""

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from sandlot_sandbox.launcher import programs, runtimes
from sandlot_sandbox.launcher.runtime import Runtime, dump_runtimes, parse_runtimes

VERSION = f"3.{sys.version_info[1]}"
NAME = f"python{VERSION}"


@pytest.fixture
def _no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the interpreters that may be on this machine, only the one that we name."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("NVM_DIR", str(tmp_path))
    monkeypatch.setattr(programs, "PROVIDED", ())
    monkeypatch.setattr(programs, "IMAGES", ())
    monkeypatch.setattr(runtimes, "_MINORS", [sys.version_info[1]])


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("_no_others")
def test_a_named_interpreter_is_found(tmp_path: Path) -> None:
    (found,), problems = runtimes.discover(
        tmp_path / "store", named={NAME: sys.executable}
    )

    assert problems == []
    assert found.name == NAME
    assert found.version.startswith(NAME.removeprefix("python"))
    assert (found.prefix / "bin" / NAME).exists()


@pytest.mark.usefixtures("_no_others")
def test_an_interpreter_beside_ourselves_needs_no_name(tmp_path: Path) -> None:
    found, _ = runtimes.discover(tmp_path / "store")

    assert [runtime.name for runtime in found] == [NAME]


@pytest.fixture
def pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where one can be found: its shim tells that it was asked."""
    shims = tmp_path / "pyenv" / "shims"
    shims.mkdir(parents=True)
    _script(shims / NAME, f': > {shims}/asked; exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(shims))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "nowhere"))
    return shims.parent


@pytest.mark.usefixtures("_no_others")
def test_behind_a_shim_the_interpreter_itself_is_asked(
    tmp_path: Path, pyenv: Path
) -> None:
    there = pyenv / "versions" / f"{VERSION}.99" / "bin"
    there.mkdir(parents=True)
    (there / NAME).symlink_to(sys.executable)

    (found,), _ = runtimes.discover(tmp_path / "store")

    assert found.name == NAME
    assert not (pyenv / "shims" / "asked").exists()


@pytest.mark.usefixtures("_no_others")
def test_a_script_is_asked_where_there_is_nothing_else(
    tmp_path: Path, pyenv: Path
) -> None:
    (found,), _ = runtimes.discover(tmp_path / "store")

    assert found.name == NAME
    assert (pyenv / "shims" / "asked").exists()


@pytest.mark.usefixtures("_no_others")
@pytest.mark.parametrize(
    "answer",
    [
        *("exit 1", "echo hello", "echo '[]'", "echo 1", "kill -9 $$", "sleep 99"),
        """echo '["2.7.18", "/", "cpython", ""]'""",
        f"""echo '["{VERSION}.1", 7, "cpython", ""]'""",
        f"""echo '["{VERSION}.1", "/proc/self/loop", "cpython", ""]'""",
    ],
)
def test_a_named_one_that_is_not_what_it_should_be_is_a_problem(
    tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer.startswith("sleep"):
        monkeypatch.setattr(runtimes, "TRY_S", 0.2)
    path = _script(tmp_path / "fake", answer)

    found, problems = runtimes.discover(tmp_path / "store", named={NAME: path})

    assert found == []
    assert problems == [f"{path} is not a CPython {NAME.removeprefix('python')}"]


@pytest.mark.usefixtures("_no_others")
def test_a_named_one_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere")

    found, (problem,) = runtimes.discover(tmp_path / "store", named={NAME: path})

    assert found == []
    assert problem == f"{path} is not there, or cannot be run"


@pytest.mark.usefixtures("_no_others")
def test_a_name_that_is_no_runtime_s_is_a_problem(tmp_path: Path) -> None:
    named = {NAME: sys.executable, "ruby3.3": "/usr/bin/ruby"}

    (found,), (problem,) = runtimes.discover(tmp_path / "store", named=named)

    assert found.name == NAME
    assert problem == (
        f"'ruby3.3' is not a runtime; there are {NAME}, nodejs18.x and later"
    )


@pytest.mark.usefixtures("_no_others")
@pytest.mark.parametrize("answer", ["exit 1", "echo 7", """echo '["18.1.0", "/x"]'"""])
def test_a_named_node_that_is_not_what_it_should_be_is_a_problem(
    tmp_path: Path, answer: str
) -> None:
    path = _script(tmp_path / "fake", answer)
    named = {NAME: sys.executable, "nodejs20.x": path}

    (found,), (problem,) = runtimes.discover(tmp_path / "store", named=named)

    assert found.name == NAME
    assert problem == f"{path} is not a Node for nodejs20.x"


@pytest.mark.usefixtures("_no_others")
def test_a_node_of_its_own_folder_is_mounted_as_awss_is(tmp_path: Path) -> None:
    (tmp_path / "lib" / "bin").mkdir(parents=True)
    path = tmp_path / "lib" / "bin" / "node"
    _script(path, f"""echo '["20.1.2", "{path}"]'""")
    named = {NAME: sys.executable, "nodejs20.x": str(path)}

    (_, node), problems = runtimes.discover(tmp_path / "store", named=named)

    assert problems == []
    assert (node.name, node.version) == ("nodejs20.x", "20.1.2")
    assert node.language == tmp_path / "lib"
    assert node.runs[0] == "/var/lang/bin/node"
    assert parse_runtimes(dump_runtimes([node])) == [node]


@pytest.mark.usefixtures("_no_others")
def test_a_node_of_nvm_s_only_says_its_version(tmp_path: Path) -> None:
    path = tmp_path / "versions" / "node" / "v20.1.2" / "bin" / "node"
    path.parent.mkdir(parents=True)
    _script(path, 'test "$*" = --version && echo v20.1.2')

    (_, node), problems = runtimes.discover(tmp_path / "store")

    assert problems == []
    assert (node.name, node.version) == ("nodejs20.x", "20.1.2")
    assert node.language == path.parents[1]


@pytest.mark.usefixtures("_no_others")
def test_what_starts_programs_is_the_code_of_our_own_python_compiled_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "versions" / "node" / "v20.1.2" / "bin" / "node"
    path.parent.mkdir(parents=True)
    _script(path, "echo v20.1.2")

    (python, node), _ = runtimes.discover(
        tmp_path / "store", named={NAME: sys.executable}
    )

    assert node.guest_code == python.guest_code
    assert list((tmp_path / "store").iterdir()) == [python.guest_code]


@pytest.mark.usefixtures("_no_others")
def test_a_python_without_json_in_c_says_what_it_is(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['_json'] = None\n"
    path = _script(tmp_path / "fake", f'exec {sys.executable} "$1" "$2" "{hidden}$3"')

    (found,), problems = runtimes.discover(tmp_path / "store", named={NAME: path})

    assert (found.name, problems) == (NAME, [])


@pytest.fixture
def cannot_compile(tmp_path: Path) -> str:
    """An interpreter that says what it should, and then does not do what it should."""
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    says = f"""echo '["{VERSION}.1", "{prefix}", "cpython", ""]'"""
    does = "echo $0 compiles >&2; exec sleep 99"
    script = f"case $2 in -c) {says};; *) {does};; esac"
    return _script(prefix / "bin" / NAME, script)


@pytest.mark.usefixtures("_no_others")
def test_a_named_one_that_cannot_compile_the_guest_is_a_problem(
    tmp_path: Path, cannot_compile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "TRY_S", 0.5)

    found, problems = runtimes.discover(
        tmp_path / "store", named={NAME: cannot_compile}
    )

    assert found == []
    assert problems == [f"{cannot_compile} cannot compile our code"]


@pytest.mark.usefixtures("_no_others")
def test_no_room_for_what_an_interpreter_compiles_is_told_as_such(
    tmp_path: Path, cannot_compile: str
) -> None:
    program = Path(cannot_compile)
    full = "OSError: [Errno 28] No space left on device: here"
    program.write_text(
        program.read_text().replace("exec sleep 99", f"echo '{full}'; exit 1")
    )

    with pytest.raises(OSError, match="No space left on device") as told:
        runtimes.discover(tmp_path / "store", named={NAME: cannot_compile})

    assert told.value.errno == errno.ENOSPC
    assert str(tmp_path / "store") in str(told.value)


@pytest.mark.usefixtures("_no_others")
def test_one_that_was_found_and_cannot_compile_the_guest_is_left_out(
    tmp_path: Path,
    cannot_compile: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(runtimes, "TRY_S", 0.5)
    monkeypatch.setattr(sys, "base_prefix", str(Path(cannot_compile).parent.parent))

    assert runtimes.discover(tmp_path / "store") == ([], [])
    assert f"{cannot_compile} cannot compile our code" in caplog.text


@pytest.mark.usefixtures("_no_others")
def test_nothing_that_was_asked_outlives_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    path = _script(tmp_path / "fake", f"echo $$ > {pid}; exec sleep 99")
    monkeypatch.setattr(runtimes, "TRY_S", 0.5)

    runtimes.discover(tmp_path / "store", named={NAME: path})

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.usefixtures("_no_others")
def test_the_guest_s_code_is_compiled_and_everybody_s_to_read(tmp_path: Path) -> None:
    (found,), _ = runtimes.discover(tmp_path / "store", named={NAME: sys.executable})
    package = found.guest_code / "sandlot_sandbox"

    assert (package / "guest" / "warden.py").is_file()
    assert list((package / "guest" / "__pycache__").glob("warden.*.pyc"))
    assert (found.guest_code / "lib" / "snapshot_restore_py.py").is_file()
    for path in found.guest_code.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert path.name == ".stamp" or mode == (0o755 if path.is_dir() else 0o644)


@pytest.mark.usefixtures("_no_others")
def test_nothing_of_ours_but_the_guest_goes_into_a_jail(tmp_path: Path) -> None:
    (found,), _ = runtimes.discover(tmp_path / "store", named={NAME: sys.executable})
    package = found.guest_code / "sandlot_sandbox"

    assert {entry.name for entry in package.iterdir()} == {
        *("guest", "__pycache__", *runtimes.GUEST_FILES)
    }


@pytest.mark.usefixtures("_no_others")
def test_it_is_prepared_once_and_again_when_it_was_changed(tmp_path: Path) -> None:
    def prepared() -> tuple[float, str]:
        (found,), _ = runtimes.discover(
            tmp_path / "store", named={NAME: sys.executable}
        )
        file = found.guest_code / "sandlot_sandbox" / "frames.py"
        return file.stat().st_mtime_ns, str(found.guest_code)

    first, folder = prepared()
    assert prepared() == (first, folder)

    (Path(folder) / ".stamp").write_text("of an older version")
    assert prepared()[0] > first


@pytest.mark.usefixtures("_no_others")
def test_what_is_prepared_is_on_disk_before_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[int] = []

    def look(_: int) -> int:
        compiled = len(list(tmp_path.rglob("*.pyc")))
        there.append(0 if list(tmp_path.rglob(".stamp")) else compiled)
        return 0

    monkeypatch.setattr(runtimes, "_syncfs", look)
    runtimes.discover(tmp_path / "store", named={NAME: sys.executable})
    runtimes.discover(tmp_path / "store", named={NAME: sys.executable})

    (compiled,) = there
    assert compiled
    assert list(tmp_path.rglob(".stamp"))


def test_runtimes_survive_the_command_line() -> None:
    known = [
        Runtime("python3.9", "3.9.18", Path("/usr"), Path("/data/runtimes/a")),
        Runtime("python3.12", "3.12.1", Path("/opt/p y"), Path('/data/"b"')),
    ]

    assert parse_runtimes(dump_runtimes(known)) == known


def test_an_interpreter_of_the_system_is_where_it_always_is() -> None:
    system = Runtime("python3.11", "3.11.2", Path("/usr"), Path("/x"))
    own = Runtime("python3.11", "3.11.2", Path("/opt/python"), Path("/x"))

    assert system.executable == "/usr/bin/python3.11"
    assert own.executable == "/var/lang/bin/python3.11"
