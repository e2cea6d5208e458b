"""The README's first five minutes, as a reader would spend them, and the SDK's page.

Its `console` blocks are run in order, in a folder, a home and a data directory of
their own; its `python` blocks are the files that they name in their first line. What
it shows of the output has to come, in that order. Numbers may differ, and `…` stands
for anything; alone on a line, for any lines. How Sandlot is installed is the
Makefile's business.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.markdown import README, REPOSITORY, fenced_blocks

SDK = REPOSITORY / "docs/sdk.md"

COMMAND_S = 60.0
READY_S = 60.0
STOPPED_S = 60.0

RUNS_ON = "sandlot up"
"""What stays in the foreground: started beside the rest, and waited for."""

EVERYBODYS_HTTP = "127.0.0.1:9070"
"""Where the README's engine is; here it is elsewhere, for another may be there."""

_PROMPT = "$ "
_FILE = re.compile(r"# (\w+\.py)\n")
_VARIES = (
    (r"\b[0-9a-f]{8}(?=…|\\-…)", r"\w+"),  # the beginning of an id
    (r"\d(?:[\d,]|\\\.)*", r"[\d,.]+"),  # a number
    (r"…", r".*"),
    (r"(?:\\\s)+", r"\s+"),  # the width of a column
)
"""What differs from run to run, as it looks after `re.escape`, and what may come."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what the README shows of its output."""

    command: str
    shown: list[str]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator["Reader"]:
    """Somebody with an empty home, and this tree's `sandlot` on the PATH."""
    somebody = Reader(tmp_path)
    yield somebody
    somebody.kill_what_runs_on()


@pytest.mark.timeout(300)
def test_every_command_of_the_readme_does_what_it_shows(reader: "Reader") -> None:
    reader.write_files(fenced_blocks(README, "python"))

    for step in steps(fenced_blocks(README, "console")):
        said = reader.type(step.command)

        assert first_missing(step.shown, said) is None, "\n".join(said)

    assert reader.stop_what_runs_on() == [0]


@pytest.mark.timeout(300)
def test_every_program_of_the_sdk_s_page_prints_what_it_shows(reader: "Reader") -> None:
    reader.write_files(fenced_blocks(SDK, "python"))
    reader.type("export SANDLOT_DATA=$HOME/sandlot-data")
    reader.type(RUNS_ON)

    for step in steps(fenced_blocks(SDK, "console")):
        said = reader.type(step.command)

        assert first_missing(step.shown, said) is None, "\n".join(said)

    assert reader.stop_what_runs_on() == [0]


@pytest.mark.parametrize(
    ("shown", "said", "missing"),
    [
        (["took 12 ms"], ["x", "took  3.5 ms", "y"], None),
        (["b", "a"], ["a", "b"], "a"),
        (["req 1f2e3d4c… cold"], ["req abcdef01… cold"], None),
        (["key …"], ["key AKIA1"], None),
        (["…", "end"], ["1", "2", "end"], None),
        (["cold 4"], ["warm 4"], "cold 4"),
    ],
)
def test_a_line_that_is_shown_but_not_said_is_noticed(
    shown: list[str], said: list[str], missing: str | None
) -> None:
    assert first_missing(shown, said) == missing


def steps(blocks: list[str]) -> list[Step]:
    found: list[Step] = []
    for line in "\n".join(blocks).splitlines():
        if line.startswith(_PROMPT):
            found.append(Step(line.removeprefix(_PROMPT), []))
        elif line:
            found[-1].shown.append(line)
    return found


def first_missing(shown: list[str], said: list[str]) -> str | None:
    """The first line that is shown and does not come after those before it."""
    rest = iter(said)
    for line in shown:
        pattern = _pattern(line)
        if line != "…" and not any(pattern.fullmatch(one.strip()) for one in rest):
            return line
    return None


def _pattern(line: str) -> re.Pattern[str]:
    pattern = re.escape(line.strip())
    for varying, allowed in _VARIES:
        # Backslashes in a replacement would be read as escapes of its own.
        pattern = re.sub(varying, allowed.replace("\\", r"\\"), pattern)
    return re.compile(pattern)


class Reader:
    """Types commands into one shell after another; what is exported stays."""

    def __init__(self, folder: Path) -> None:
        home, programs = folder / "home", folder / "bin"
        self._work = home / "work"
        self._work.mkdir(parents=True)
        programs.mkdir()
        python = shlex.quote(sys.executable)
        _make_program(programs / "python", f'exec {python} "$@"')
        _make_program(programs / "sandlot", f'exec {python} -m sandlot "$@"')
        roots = (REPOSITORY / root for root in ("client", "engine", "sandbox"))
        self._http = f"127.0.0.1:{_free_port()}"
        self._environment = {
            "HOME": str(home),
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            # This tree, wherever it was copied to.
            "PYTHONPATH": ":".join(map(str, roots)),
            # The README has everybody's ports.
            "SANDLOT_GRPC": "127.0.0.1:0",
            "SANDLOT_HTTP": self._http,
        }
        self._exported = folder / "exported"
        self._exported.touch()
        self._running: list[subprocess.Popen[str]] = []

    def write_files(self, blocks: list[str]) -> None:
        for block in blocks:
            name = _FILE.match(block)
            assert name is not None, f"which file is this?\n{block}"
            text = block.replace(EVERYBODYS_HTTP, self._http)
            (self._work / name[1]).write_text(text)

    def type(self, command: str) -> list[str]:
        """The lines of its output; up to the Ready line where it runs on."""
        command = command.replace(EVERYBODYS_HTTP, self._http)
        if command.startswith(RUNS_ON):
            return self._lines_until_ready(self._start(f"exec {command}"))
        kept = shlex.quote(str(self._exported))
        process = self._start(f"{command}\nexport -p > {kept}")
        said, _ = process.communicate(timeout=COMMAND_S)
        self._running.remove(process)
        assert process.returncode == 0, f"$ {command}\n{said}"
        return said.splitlines()

    def stop_what_runs_on(self) -> list[int]:
        """As Ctrl-C and service managers do; the exit statuses."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        return [process.wait(STOPPED_S) for process in self._running]

    def kill_what_runs_on(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()

    def _start(self, script: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            ["bash", "-ec", f". {shlex.quote(str(self._exported))}\n{script}"],  # noqa: S607 - the user's
            cwd=self._work,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(process)
        return process

    def _lines_until_ready(self, process: "subprocess.Popen[str]") -> list[str]:
        # A read has no deadline; one that lasts too long ends with its process.
        deadline = threading.Timer(READY_S, process.kill)
        deadline.start()
        said: list[str] = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line.rstrip("\n"))
                if line.startswith("Ready"):
                    return said
        finally:
            deadline.cancel()
        raise AssertionError("\n".join(["it never was ready:", *said]))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _make_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
