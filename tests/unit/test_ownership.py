"""Files of the data folder that are somebody else's, and a start that tells of them."""

import os
from pathlib import Path

import pytest

from sandlot_engine.assembly.ownership import check_ours
from sandlot_engine.errors import Refusal

SOMEBODY = os.geteuid() + 1


@pytest.mark.parametrize(
    "name", ["sandlot.db", "master.key", "operator.json", "code/aa.zip", "code/aa.tar"]
)
def test_what_was_brought_back_by_somebody_else_is_told_of(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()

    check_ours(tmp_path, uid=os.geteuid())
    with pytest.raises(Refusal, match=rf"{name}.* runs as {SOMEBODY}.*chown"):
        check_ours(tmp_path, uid=SOMEBODY)


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
