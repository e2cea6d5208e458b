"""Hello world, as it is written for each of the runtimes that this machine has."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cache
from benchmarks.jails import ENVIRONMENT, LIMITS
from sandlot_sandbox.launcher.runtime import Runtime

EVENT = b'{"name": "world"}'

_SOURCES = Path(__file__).parent / "workloads" / "hello"
_ANSWER = {"hello": "world"}
_COMPILE_S = 60.0
_RIC = "awslambdaric"
_PYTHON = f"python3.{sys.version_info.minor}"
"""Runs AWS's client: ours, as packages are installed for that."""

_RIC_BOOTSTRAP = f"""#!/bin/sh
exec {_PYTHON} -m {_RIC} hello.handler
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """One of them, in a folder with what goes into its package."""

    name: str
    """As tables have it."""

    runtime: Runtime
    folder: Path
    handler: str = "hello.handler"

    @property
    def is_program(self) -> bool:
        """Whether it is exec'd, and speaks the Runtime API."""
        return bool(self.runtime.runs)

    def sources(self, _runtime: str) -> Iterator[Path]:
        yield from self.folder.iterdir()

    def environment(self, task: str = "/var/task") -> dict[str, str]:
        """As functions have it, their code in the folder `task`."""
        return {
            **ENVIRONMENT,
            "PATH": "/var/lang/bin:/var/starter/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "LAMBDA_TASK_ROOT": task,
            "_HANDLER": self.handler,
            "AWS_REGION": "us-east-1",
            "AWS_LAMBDA_FUNCTION_NAME": "hello",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(LIMITS.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
            "AWS_LAMBDA_LOG_STREAM_NAME": "hello",
        }


def expect(answer: bytes, name: str) -> None:
    """Raises `RuntimeError` where a hello said something else."""
    if json.loads(answer or b"null") != _ANSWER:
        raise RuntimeError(f"{name} answered {answer[:200]!r}")


@contextmanager
def written(runtimes: Iterable[Runtime]) -> Iterator[tuple[list[Hello], list[str]]]:
    """All that can be written here, and why others cannot; gone when the block ends."""
    hellos: list[Hello] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-hello-") as where:
        for runtime in runtimes:
            for how, write in _ways(runtime).items():
                folder = Path(where) / str(len(hellos) + len(missing))
                folder.mkdir()
                name = f"{runtime.name}, {how}" if how else runtime.name
                try:
                    write(folder)
                except _Missing as reason:
                    missing.append(f"{name}: {reason}")
                else:
                    hellos.append(Hello(name=name, runtime=runtime, folder=folder))
        yield hellos, missing


class _Missing(Exception):
    pass


def _ways(runtime: Runtime) -> dict[str, Callable[[Path], None]]:
    if runtime.name.startswith("python"):
        return {"": lambda folder: _copy("hello.py", folder)}
    if runtime.name.startswith("nodejs"):
        return {
            "CommonJS": lambda folder: _copy("hello.js", folder),
            "ES module": lambda folder: _copy("hello.mjs", folder),
        }
    if runtime.name == "provided.al2023":
        return {"C, static": _compile, "shell": _shell, _RIC: _awslambdaric}
    # The others of the name are the same.
    return {}


def _copy(name: str, folder: Path) -> None:
    shutil.copyfile(_SOURCES / name, folder / name)


def _shell(folder: Path) -> None:
    _bootstrap(folder, (_SOURCES / "hello.sh").read_text("utf-8"))


def _compile(folder: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise _Missing("there is no C compiler here")
    command = [compiler, "-D_GNU_SOURCE", "-O2", "-static"]
    command += ["-o", str(folder / "bootstrap"), str(_SOURCES / "hello.c")]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_COMPILE_S)
    except subprocess.CalledProcessError as error:
        raise _Missing("what the C compiler says is no static C library") from error


def _awslambdaric(folder: Path) -> None:
    installed = cache.packages(_RIC, _PYTHON)
    if installed is None:
        raise _Missing("not installed; `python -m benchmarks peers` does it")
    for each in installed.iterdir():
        if each.is_dir():
            shutil.copytree(each, folder / each.name)
        else:
            shutil.copy(each, folder)
    _copy("hello.py", folder)
    _bootstrap(folder, _RIC_BOOTSTRAP)


def _bootstrap(folder: Path, text: str) -> None:
    program = folder / "bootstrap"
    program.write_text(text, "utf-8")
    program.chmod(0o755)
