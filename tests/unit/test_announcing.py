"""The Ready line, where it goes to somebody who reads no UTF-8."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sandlot_engine.assembly.announcing import Facts, announce
from sandlot_engine.options import EngineConfig


def test_a_stdout_without_our_dots_has_the_line_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    config = SimpleNamespace(
        data=str(tmp_path), supervisor_pid=1, as_json=False, tls_cert=""
    )
    facts = Facts(grpc="g:1", http="http://h:2", mode="root", given_up=[], weaker=[])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

    announce(cast(EngineConfig, config), facts, 0.25)

    assert written.getvalue().startswith(b"Ready in 0.2 s \\xb7 grpc g:1 \\xb7 ")
    assert json.loads((tmp_path / "engine.json").read_text())["grpc"] == "g:1"
