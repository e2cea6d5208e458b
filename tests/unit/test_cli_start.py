"""What the command line loads before it knows what to do."""

import json
import subprocess
import sys

import pytest

HEAVY = ("grpc", "rich", "google.protobuf", "asyncio")


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
