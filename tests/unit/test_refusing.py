"""How a start that is refused is told, to people and to tools."""

import json
import os

import pytest

from sandlot_engine.refusing import refusal
from sandlot_sandbox.probe import EX_CONFIG

WHY = "cannot serve HTTP on “x”:\n\x1b[2J"


def test_people_have_a_line_of_text() -> None:
    assert refusal("no", status=EX_CONFIG, as_json=False) == "sandlot: no"


@pytest.mark.parametrize(
    ("status", "kind"), [(EX_CONFIG, "Refused"), (os.EX_TEMPFAIL, "Unavailable")]
)
def test_tools_have_one_line_of_json_whatever_is_in_it(status: int, kind: str) -> None:
    line = refusal(WHY, status=status, as_json=True)

    assert line.isprintable()
    error = {"kind": kind, "message": WHY, "advice": ""}
    assert json.loads(line) == {"error": error}
