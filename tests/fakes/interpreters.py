"""A second interpreter, for machines that have one: a copy of our own, in a prefix."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAME = f"python3.{sys.version_info[1]}"
LABELLED = f"{NAME}-copy"
_NOT_NEEDED = (
    "test",
    "tests",
    "idlelib",
    "*-packages",
    "__pycache__",
    "*.a",
    "config-*",
)


def copied_python(folder: Path) -> Path:
    """Its program. Skips where ours cannot be copied: one with a library of its own."""
    base = Path(sys.base_prefix).resolve()
    prefix = folder / "prefix"
    (prefix / "bin").mkdir(parents=True)
    program = prefix / "bin" / NAME
    shutil.copy((base / "bin" / NAME).resolve(), program)
    shutil.copytree(
        base / "lib" / NAME,
        prefix / "lib" / NAME,
        ignore=shutil.ignore_patterns(*_NOT_NEEDED),
    )
    asked = subprocess.run(
        [program, "-I", "-c", "import sys, json; print(json.dumps(sys.base_prefix))"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if asked.returncode or json.loads(asked.stdout) != str(prefix):
        pytest.skip(f"a copy of {NAME} does not run here: {asked.stderr[-200:]}")
    return program
