"""Files of the data folder that are somebody else's, and a start that tells of them."""

import os
from pathlib import Path

import pytest

from sandlot_engine.assembly.ownership import check_ours
from sandlot_engine.errors import Refusal

SOMEBODY = os.geteuid() + 1


@pytest.mark.parametrize(
    "name",
    [
        *("sandlot.db", "master.key", "operator.json", "engine.json"),
        *("code/aa.zip", "code/aa.tar"),
    ],
)
def test_what_was_brought_back_by_somebody_else_is_told_of(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()

    with pytest.raises(Refusal, match=rf"{name}.* runs as {SOMEBODY}.*chown"):
        check_ours(tmp_path, uid=SOMEBODY)
    (tmp_path / "sandlot.db").write_text("of these")
    check_ours(tmp_path, uid=os.geteuid())


def test_what_is_not_the_engines_may_be_anybodys(tmp_path: Path) -> None:
    (tmp_path / "runtimes").mkdir()
    (tmp_path / "lock").touch()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "notes").touch()

    check_ours(tmp_path, uid=SOMEBODY)


def test_a_database_that_may_not_be_written_to_is_told_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sandlot.db-wal"
    path.touch(mode=0o400)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to everything

    with pytest.raises(Refusal, match=rf"{path.name}.* mode is 0400.*chmod 600"):
        check_ours(tmp_path, uid=os.geteuid())


@pytest.mark.parametrize("name", ["sandlot.db", "master.key", "engine.json"])
def test_what_stands_in_the_place_of_a_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(Refusal, match=rf"{name} is no file.*[Mm]ove it away"):
        check_ours(tmp_path, uid=os.geteuid())


@pytest.mark.parametrize("is_there", [True, False])
def test_a_database_that_is_gone_takes_no_packages_with_it(
    tmp_path: Path, *, is_there: bool
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "aa.zip").touch()
    if is_there:
        (tmp_path / "sandlot.db").touch()

    with pytest.raises(Refusal, match=r"gone, or empty.* 1 of their packages"):
        check_ours(tmp_path, uid=os.geteuid())


def test_a_folder_of_packages_without_any_is_a_first_start(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "sandlot.db").touch()

    check_ours(tmp_path, uid=os.geteuid())
