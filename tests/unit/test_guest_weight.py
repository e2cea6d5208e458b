"""What a zygote imports, each of its forks has to enter into tables of pages."""

from __future__ import annotations

import subprocess

from tests.fakes.guest_interpreters import DEADLINE_S, SANDBOX, every_interpreter

LOADED = f"""
import sys
before = {{*sys.modules}}
sys.path.insert(0, {str(SANDBOX)!r})
import sandlot_sandbox.guest.zygote
print(*{{*sys.modules}} - before)
"""
HEAVY = {
    *("ast", "dataclasses", "inspect", "logging", "pathlib", "random"),
    *("subprocess", "tempfile", "threading", "typing"),
}
"""Megabytes, or with something to do after a fork."""


@every_interpreter
def test_a_zygote_imports_nothing_heavy(python: str) -> None:
    done = subprocess.run(
        [python, "-I", "-B", "-c", LOADED],
        capture_output=True,
        timeout=DEADLINE_S,
        check=True,
        text=True,
    )

    loaded = {*done.stdout.split()}
    assert "sandlot_sandbox.guest.zygote" in loaded
    assert loaded & HEAVY == set()
