"""Where the guest is tested, and that it comes there as light as can be."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.fakes.guest_interpreters import NAMES, Guest, every_interpreter, interpreters


def test_there_is_an_interpreter_to_test_the_guest_with() -> None:
    assert interpreters(), f"none of {', '.join(NAMES)} on PATH starts"


@every_interpreter
def test_the_guest_imports_nothing_that_is_slow_to_import(
    python: str, tmp_path: Path
) -> None:
    slow = {"typing", "inspect", "dataclasses", "asyncio", "socket", "random"}
    # Newer versions' own logging and traceback load some of these.
    needed = "import sys, json, logging, traceback, tokenize; print(*sys.modules)"
    anyway = subprocess.check_output([python, "-I", "-c", needed], encoding="utf-8")

    loaded = Guest(python, tmp_path).result_of("result = list(sys.modules)")

    assert slow & set(loaded) - set(anyway.split()) == set()


@every_interpreter
def test_the_guest_warns_of_nothing(python: str, tmp_path: Path) -> None:
    guest = Guest(python, tmp_path)

    done = guest.run("", wrapper=("env", "PYTHONWARNINGS=error"))

    assert (done.status, done.stderr) == (0, "")
