"""What the doctor says beside what it has tried."""

import os

import pytest

from sandlot_sandbox.launcher.cgroups import Layout
from sandlot_sandbox.limits import COUNTED_PROCESSES, OPEN_FILES
from sandlot_sandbox.probe import _cgroup_row, on_files_of_all


@pytest.mark.parametrize("most", [COUNTED_PROCESSES * OPEN_FILES, 2**63 - 1])
def test_where_a_function_cannot_open_all_files_nothing_is_said(most: int) -> None:
    assert on_files_of_all(most) == ""


def test_where_a_function_can_open_all_files_of_the_machine_it_is_said() -> None:
    said = on_files_of_all(2_466_170)

    assert "12,582,912" in said
    assert "2,466,170" in said
    assert "fs.file-max" in said


@pytest.mark.parametrize(
    ("user", "fix"), [(0, "mounted for writing"), (1000, "start the engine as root")]
)
def test_who_has_no_groups_is_told_what_there_is_to_do(
    monkeypatch: pytest.MonkeyPatch, user: int, fix: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)

    row = _cgroup_row(Layout(), must_control_all=True)

    assert fix in row.fix
    assert ("start the engine as root" in row.fix) == (user != 0)
