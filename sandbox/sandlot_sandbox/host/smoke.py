"""Hello world on a runtime, in a jail of its own: whether it works, before anybody
relies on it. Beside a running engine, or without one."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sandlot_sandbox import frames
from sandlot_sandbox.errors import SandboxError
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.host.recipe import Recipe
from sandlot_sandbox.host.zygote import Zygote
from sandlot_sandbox.launcher.runtime import Runtime, dump_runtimes
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.outcome import Ended, Ending
from sandlot_sandbox.probe import is_enough

SMOKE_S = 45.0
"""For all of it: the launcher tries each layer of the jail first."""

_ANSWER_S = 10.0
_LIMITS = Limits(memory_mb=256, tmp_mb=64)
_CODE = hashlib.sha256(b"hello").hexdigest()
_PYTHON = (
    "import platform, sys\n"
    "def handler(event, context):\n"
    "    return {'hello': event['name'], 'version': platform.python_version(),"
    " 'library': sys.base_prefix}\n"
)
_NODE = (
    "exports.handler = async (event) =>"
    " ({ hello: event.name, version: process.versions.node });\n"
)
_EVENT = b'{"name": "world"}'
_SAID = "stderr"
"""Of the launcher."""

_MAX_SHOWN = 600
"""Characters of what it printed."""


class NoAnswer(Exception):
    """Hello world did not work, and why."""


async def say_hello(
    runtime: Runtime, *, given_up: frozenset[str] = frozenset()
) -> float:
    """Seconds from the start of an instance to its answer. Raises `NoAnswer`.

    All that was started is dead when this returns, and no file is left.
    """
    try:
        async with asyncio.timeout(SMOKE_S):
            with tempfile.TemporaryDirectory(prefix="sandlot-smoke-") as where:
                return await _try(runtime, Path(where), given_up)
    except TimeoutError as error:
        raise NoAnswer(f"it was not done within {SMOKE_S:g} s") from error


async def _try(runtime: Runtime, folder: Path, given_up: frozenset[str]) -> float:
    try:
        async with _launcher(runtime, folder, given_up) as launcher:
            return await _say_hello(runtime, launcher)
    except SandboxError as error:
        said = (folder / _SAID).read_text("utf-8", "replace")[-_MAX_SHOWN:].strip()
        raise NoAnswer(f"{error}{f'; {said}' if said else ''}") from error


@asynccontextmanager
async def _launcher(
    runtime: Runtime, folder: Path, given_up: frozenset[str]
) -> AsyncIterator[Launcher]:
    _unpack(runtime, folder)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, (folder / _SAID).open("wb") as said:
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - ourselves
            [
                *(sys.executable, "-P", "-m", "sandlot_sandbox.launcher"),
                *("--channel", str(theirs.fileno()), "--parent", str(os.getpid())),
                *("--code", str(folder / "code")),
                *("--runtimes", dump_runtimes([runtime])),
                *("--given-up", ",".join(sorted(given_up))),
            ],
            pass_fds=[theirs.fileno()],
            # It says that we are gone when we are, which is no news.
            stderr=said,
        )
    launcher = Launcher(ours, on_lost=lambda: None)
    try:
        hello = await launcher.wait_hello()
        if not is_enough(hello.layers):
            raise NoAnswer("this machine cannot jail anything yet: see sandlot doctor")
        yield launcher
    finally:
        launcher.close()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, _ANSWER_S)
        process.kill()
        await asyncio.to_thread(process.wait)


def _unpack(runtime: Runtime, folder: Path) -> None:
    # Read in the jail by a user of its own.
    folder.chmod(0o755)
    package = folder / "code" / f"{_CODE}-{runtime.name}"
    package.mkdir(parents=True, mode=0o755)
    name, text = ("hello.js", _NODE) if runtime.runs else ("hello.py", _PYTHON)
    (package / name).write_text(text, "utf-8")
    for path in (folder / "code", package, package / name):
        path.chmod(0o644 if path.is_file() else 0o755)


async def _say_hello(runtime: Runtime, launcher: Launcher) -> float:
    recipe = Recipe(
        runtime=runtime.name, limits=_LIMITS, code=_CODE, settings=_settings(runtime)
    )
    lost = asyncio.Event()
    zygote = Zygote(launcher, recipe, on_lost=lambda _: lost.set())
    try:
        if not await zygote.wait_ready():
            raise NoAnswer(f"{zygote.reason}{_shown(zygote.take_printed()[0])}")
        began = time.perf_counter()
        instance = await zygote.fork(on_death=lambda _: None)
        header = frames.EventHeader(
            "00000000-0000-4000-8000-000000000000",
            int((time.time() + _ANSWER_S) * 1000),
            "arn:aws:lambda:us-east-1:000000000000:function:hello",
        )
        ending = await instance.invoke(header, _EVENT, timeout_s=_ANSWER_S)
        took_s = time.perf_counter() - began
        _check(ending, runtime)
        await instance.destroy()
    except SandboxError as error:
        raise NoAnswer(f"{error}{_shown(zygote.take_printed()[0])}") from error
    finally:
        zygote.kill()
        await lost.wait()
    return took_s


def _settings(runtime: Runtime) -> dict[str, object]:
    return {
        "handler": "hello.handler",
        "version": "$LATEST",
        "import_in_zygote": not runtime.runs,
        "environment": {
            "PATH": "/var/lang/bin:/usr/bin:/bin",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": "/var/task",
            "_HANDLER": "hello.handler",
            "AWS_LAMBDA_FUNCTION_NAME": "hello",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(_LIMITS.memory_mb),
        },
    }


def _check(ending: Ending, runtime: Runtime) -> None:
    said = ending.payload[:_MAX_SHOWN].decode("utf-8", "replace")
    if ending.ended is not Ended.ANSWERED:
        code = "" if ending.exit_code is None else f" with status {ending.exit_code}"
        how = f"it {ending.ended.value}{code} {ending.error_type} {said}".strip()
        raise NoAnswer(f"{how}{_shown(ending.printed)}")
    try:
        answer = json.loads(ending.payload)
    except ValueError:
        answer = None
    expected = {"hello": "world", "version": runtime.version}
    if not runtime.runs:
        # One that does not find its own library may take another's, unnoticed.
        expected["library"] = runtime.executable.removesuffix(
            f"/bin/{runtime.python.name}"
        )
    if answer != expected:
        raise NoAnswer(f"it answered {said!r}")


def _shown(lines: tuple[tuple[float, bytes], ...]) -> str:
    """What it printed, on a line of its own."""
    text = b"\n".join(line for _, line in lines).decode("utf-8", "replace")
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    return f"; it printed: {text[-_MAX_SHOWN:]}" if text else ""
