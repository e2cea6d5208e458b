"""What an operator has registered: one file, and what may stand in it."""

import json
import os
import stat
from pathlib import Path

import pytest

from sandlot_sandbox.launcher import registry
from sandlot_sandbox.launcher.registry import Registered, Registry, Unreadable
from sandlot_sandbox.launcher.runtime import Runtime

FOUND = Runtime("python3.11", "3.11.2", Path("/usr"), Path("/code/a"))
OWN = Runtime("python3.12-own", "3.12.1", Path("/opt/py"), Path("/code/b"))
BROKEN = Registered("nodejs20.x-old", "/opt/node/bin/node", None, "it is not there")


@pytest.mark.parametrize(
    "name",
    ["python3.9", "python3.12-own", "python3.15-a_b.c", "nodejs22.x", "nodejs18.x-1"],
)
def test_a_name_says_which_language_and_may_have_a_label(name: str) -> None:
    assert registry.is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "python", "python3.8", "python3.12-", "python3.12-A", "python3.12-a/b"),
        *("python3.12-..", "../python3.12", "provided.al2023-x", "nodejs16.x"),
        *("python3.12-a-b", "python3.12\n", "python3.12-" + "a" * 33),
    ],
)
def test_other_names_are_none(name: str) -> None:
    assert not registry.is_name(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / registry.FILE


def test_what_is_written_is_read(file: Path) -> None:
    entries = [Registered(OWN.name, "/opt/py/bin/python3.12", OWN), BROKEN]

    registry.write(file, entries)

    assert registry.read(file) == entries
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(file.parent.iterdir()) == [file]


def test_no_file_is_nothing_registered(file: Path) -> None:
    assert registry.read(file) == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[1]", "{}x", '[{"name": "python3.12-own"}]', "[" * 100_000),
        '[{"name": "/etc", "path": "", "problem": "", "runtime": null}]',
        json.dumps(
            [
                {
                    "name": "python3.12-own",
                    "path": "",
                    "problem": "",
                    "runtime": {
                        "name": "python3.11",
                        "version": "",
                        "prefix": "/",
                        "guest_code": "/",
                        "runs": [],
                        "language": None,
                    },
                }
            ]
        ),
    ],
)
def test_what_was_not_written_by_us_is_not_believed(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(Unreadable):
        registry.read(file)


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_what_others_may_write_is_not_believed(file: Path, mode: int) -> None:
    registry.write(file, [BROKEN])
    file.chmod(mode)

    with pytest.raises(Unreadable, match="others may write"):
        registry.read(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_somebody_else_s_is_not_believed(file: Path) -> None:
    registry.write(file, [BROKEN])
    os.chown(file, 12_345, 12_345)

    with pytest.raises(Unreadable, match="others may write"):
        registry.read(file)


def test_a_link_a_folder_and_a_pipe_are_not_believed(file: Path) -> None:
    registry.write(file.with_name("other"), [BROKEN])
    file.symlink_to("other")
    with pytest.raises(Unreadable):
        registry.read(file)
    file.unlink()

    file.mkdir()
    with pytest.raises(Unreadable):
        registry.read(file)
    file.rmdir()

    os.mkfifo(file, 0o600)
    with pytest.raises(Unreadable):
        registry.read(file)


def test_too_many_are_not_believed(file: Path) -> None:
    registry.write(file, [BROKEN] * (registry.MAX_REGISTERED + 1))

    with pytest.raises(Unreadable, match="more than 32"):
        registry.read(file)


def test_what_is_registered_is_there_at_once_and_gone_at_once(file: Path) -> None:
    known = Registry([FOUND], file)
    assert known.usable == {FOUND.name: FOUND}

    registry.write(file, [Registered(OWN.name, "/opt/py", OWN), BROKEN])
    assert known.usable == {FOUND.name: FOUND, OWN.name: OWN}
    assert known.registered[1] == BROKEN

    registry.write(file, [])
    assert known.usable == {FOUND.name: FOUND}


def test_of_a_file_that_is_not_believed_nothing_is_used(file: Path) -> None:
    registry.write(file, [Registered(OWN.name, "/opt/py", OWN)])
    known = Registry([FOUND], file)
    assert OWN.name in known.usable

    file.write_text("nonsense, and longer")

    assert known.usable == {FOUND.name: FOUND}
    assert "is not what was written" in known.trouble
