"""The interpreters that the guest's tests run in, and how they run something there.

The guest runs in the tenant's CPython and not in the engine's: what imports, forks or
depends on the version is therefore tried in every interpreter that is found, in a
child of its own.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAMES = tuple(f"python3.{minor}" for minor in range(9, 15))

SANDBOX = Path(__file__).parents[2] / "sandbox"

DEADLINE_S = 30.0

PRELUDE = """
import json, os, sys
_report = os.dup(int(sys.argv[1]))
os.close(int(sys.argv[1]))
sys.path.insert(0, {sandbox!r})
sys.pycache_prefix, sys.dont_write_bytecode = {compiled!r}, False
from sandlot_sandbox.guest import (
    context, event_loops, failures, fork_safety, handler, hooks, logging_setup,
    marshalling, tmp_files, uniqueness, unused_sockets,
)
sys.path[:1] = [{tenant!r}, {library!r}]
result = None
def in_a_clone(function):
    "What `function` returns in a fork of this process."
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(function()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "the clone failed"
    return json.loads(text)
"""

BEGUN = """
sys.pycache_prefix, sys.dont_write_bytecode = None, True
"""

EPILOGUE = """
os.write(_report, json.dumps(result).encode())
"""


@dataclass(frozen=True)
class Finished:
    """What a child interpreter left behind."""

    result: Any
    stdout: str
    stderr: str
    status: int


@dataclass(frozen=True)
class Guest:
    """One interpreter with one directory of tenant code."""

    python: str
    tenant: Path
    before: str = ""
    """What all of its scripts begin with."""

    def write(self, name: str, source: str) -> None:
        """Add a file to the tenant's code."""
        path = self.tenant / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")

    def run(self, script: str, *, wrapper: tuple[str, ...] = ()) -> Finished:
        """Run `script`, which may set `result`, with the guest's modules imported."""
        prelude = PRELUDE.format(
            sandbox=str(SANDBOX),
            compiled=_compiled(),
            tenant=str(self.tenant),
            library=str(SANDBOX / "sandlot_sandbox/guest/lib"),
        )
        begun = prelude + self.before + BEGUN
        source = begun + textwrap.dedent(script) + EPILOGUE
        reading, writing = os.pipe()
        try:
            done = subprocess.run(
                [*wrapper, self.python, "-I", "-B", "-c", source, str(writing)],
                cwd=self.tenant,
                capture_output=True,
                env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
                pass_fds=(writing,),
                timeout=DEADLINE_S,
                check=False,
            )
        finally:
            os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            text = pipe.read()
        return Finished(
            # Decoded here: the text mode of pipes would turn \r into \n.
            result=json.loads(text) if text else None,
            stdout=done.stdout.decode(),
            stderr=done.stderr.decode(),
            status=done.returncode,
        )

    def result_of(self, script: str, *, wrapper: tuple[str, ...] = ()) -> Any:
        """The `result` of a script that has to end well."""
        done = self.run(script, wrapper=wrapper)
        assert done.status == 0, done.stderr
        return done.result


@functools.cache
def _compiled() -> str:
    """Where the guest's code is kept as each interpreter compiles it: without, it does
    so for each test."""
    folder = tempfile.mkdtemp(prefix="sandlot-guests-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def interpreters() -> tuple[str, ...]:
    """The CPythons on PATH that start, one for each version, oldest first."""
    found = (_interpreter(name) for name in NAMES)
    return tuple(python for python in found if python)


def _interpreter(name: str) -> str | None:
    candidates = [os.path.join(d, name) for d in os.get_exec_path()]  # noqa: PTH118
    # A pyenv shim runs only the versions that are switched on; beside it lie all.
    for shim in [c for c in candidates if Path(c).parent.name == "shims"]:
        installed = Path(shim).parents[1] / "versions"
        candidates += [str(p) for p in sorted(installed.glob(f"*/bin/{name}"))]
    started = (_start(c) for c in candidates if shutil.which(c))
    return next((python for python in started if python), None)


def _start(python: str) -> str | None:
    """What it is itself: a shim is a script that looks for it each time."""
    done = subprocess.run(
        [python, "-I", "-c", "import sys; print(sys.executable)"],
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
        text=True,
    )
    return done.stdout.strip() if done.returncode == 0 else None


every_interpreter = pytest.mark.parametrize(
    "python", interpreters() or ["none on PATH"], ids=lambda path: Path(path).name
)


def python_with_numpy() -> str:
    """The interpreter of the tests, or else one from PATH, that can import numpy."""
    for python in (sys.executable, shutil.which("python3"), *interpreters()):
        if python and _has_numpy(python):
            return python
    pytest.fail("no interpreter here has numpy: install the `dev` extra, or numpy")


@functools.cache
def _has_numpy(python: str) -> bool:
    done = subprocess.run(
        [python, "-I", "-c", "import numpy"],
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode == 0
