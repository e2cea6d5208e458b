"""What the command line loads before it knows what to do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.conftest import Cli

HEAVY = ("grpc", "rich", "google.protobuf", "asyncio", "http.client", "ssl")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["version"], ["invoke", "--help"], ["up", "--help"]],
    ids=" ".join,
)
def test_help_imports_neither_grpc_nor_rich(arguments: list[str]) -> None:
    program = (
        "import json, sys\n"
        "from sandlot.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )

    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "click" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_module_can_be_run(nobodys_environment: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandlot", "version", "--json"],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )

    assert json.loads(done.stdout).keys() == {"version"}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("fn ver", "plain,versions\n"),
        ("deploy hel", "file,hel\n"),
        ("layer publish ./de", "file,./de\n"),
        ("invoke --data /va", "dir,/va\n"),
    ],
)
def test_a_shell_completes_what_the_help_says(
    cli: Cli, words: str, wanted: str
) -> None:
    told = re.search(
        r"(_SANDLOT_COMPLETE)=(bash)_source (sandlot)", cli("--help").stdout
    )
    assert told is not None
    typed = {"COMP_WORDS": f"sandlot {words}", "COMP_CWORD": str(len(words.split()))}

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from sandlot.cli import main; main(prog_name='sandlot')",
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
        env={**os.environ, **typed, told[1]: f"{told[2]}_complete"},
    )

    assert done.stdout == wanted


def test_the_version_is_had_as_elsewhere(cli: Cli) -> None:
    assert cli("--version").stdout == cli("version").stdout


@pytest.mark.parametrize("group", ["", "fn", "dead-letter", "runtime", "tenant"])
def test_lists_of_commands_break_off_nowhere(cli: Cli, group: str) -> None:
    done = cli(*filter(None, [group]), "--help")

    assert done.exit_code == 0
    assert "..." not in done.stdout.partition("Options:")[2]


def test_ctrl_c_while_the_command_is_loaded_is_told_as_at_any_other_time() -> None:
    program = (
        "import sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'sandlot.cli.urls':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from sandlot.__main__ import main\n"
        "main()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_who_says_no_is_told_that_nothing_was_done() -> None:
    terminal, stdin = os.openpty()
    os.write(terminal, b"n\n")
    command = [sys.executable, "-m", "sandlot", "fn", "delete", "hello"]

    with os.fdopen(terminal), os.fdopen(stdin) as answers:
        done = subprocess.run(
            command,
            check=False,
            stdin=answers,
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert done.returncode == 130
    assert done.stderr.endswith("[y/N]: nothing was done\n")


def test_the_status_is_asked_for_without_the_engine_s_own_code(
    cli: Cli, nobodys_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sandlot_engine.app", None)

    done = cli("status")

    assert done.exit_code == 4
    assert "no engine is running on " in done.stderr


def test_what_a_terminal_cannot_show_ends_no_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandlot", "up", "--help"],
        check=True,
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )

    assert b"--insecure LAYER,\\u2026" in done.stdout
