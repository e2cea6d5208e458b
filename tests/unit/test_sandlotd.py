"""`sandlotd`, the engine with its defaults."""

import os
import sys

import pytest

from sandlot_engine import app


@pytest.mark.parametrize("given", ["--help", "--data=/srv/sandlot"])
def test_what_it_would_not_heed_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["sandlotd", given])
    monkeypatch.setattr(app, "up", _start_nothing)

    status = app.main()

    assert status == os.EX_USAGE
    assert "`sandlot up`" in capsys.readouterr().err


def _start_nothing(_: object) -> int:
    pytest.fail("an engine was started on the usual folder")
