"""A program exec'd as it is, with the very Runtime API that it has in a jail."""

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import chdir
from pathlib import Path

from benchmarks.hellos import EVENT, Hello
from benchmarks.jails import TIMEOUT_S
from sandlot_sandbox import frames
from sandlot_sandbox.guest.starter import BOOTSTRAP
from sandlot_sandbox.host.runtime_wire import RuntimeWire
from sandlot_sandbox.launcher.runtime import Runtime

_HEAP_MB = "230"


async def exec_program(
    hello: Hello, runtime: Runtime, package: Path, header: frames.EventHeader
) -> tuple[float, bytes]:
    """Seconds until it has answered its first event, and the answer; then it is killed.

    `runtime` is the hello's, with the guest's code where it is now.
    From `posix_spawn`, which copies nothing of ours: nobody starts a program in less.
    Raises `RuntimeError` where it does not answer.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    environment = _environment(hello, package, port)
    command = _command(runtime, package)
    channel, starter = socket.socketpair()
    heard = _Heard()
    with starter, chdir(package):
        began = time.perf_counter()
        wire = RuntimeWire(channel, listener)
        wire.open(heard)
        wire.send(header, EVENT)
        pid = _spawn(command, environment)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await heard.answer
            took = time.perf_counter() - began
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222 - it is dead, or about to be
            wire.close()
    if answer.kind != frames.ANSWER:
        raise RuntimeError(f"{hello.name}, not jailed, failed: {answer.payload!r}")
    return took, answer.payload


class _Heard:
    """What the Runtime API tells of a program."""

    expects_answer = True

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[frames.Answer] = loop.create_future()

    def hear(self, answer: frames.Answer) -> None:
        if answer.kind != frames.READY and not self.answer.done():
            self.answer.set_result(answer)

    def note_violation(self, violation: frames.Violation) -> None:
        self._fail(str(violation))

    def note_crash(self, error_type: str, why: str = "") -> None:
        self._fail(f"{error_type} {why}")

    def note_settled(self) -> None: ...

    def note_runtime_ended(self, status: int) -> None: ...

    def note_hung_up(self) -> None: ...

    def _fail(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(RuntimeError(why))


def _spawn(command: list[str], environment: dict[str, str]) -> int:
    return os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        # Python ignores it, and a jail's programs do not.
        setsigdef=[signal.SIGPIPE],
    )


def _command(runtime: Runtime, package: Path) -> list[str]:
    """What a jail runs, by its name outside of one."""
    if runtime.runs == (BOOTSTRAP,):
        return [str(package / BOOTSTRAP)]
    places = {"/var/runtime/": f"{runtime.guest_code}/"}
    if runtime.language is not None:
        places["/var/lang/"] = f"{runtime.language}/"
    command = []
    for part in runtime.runs:
        moved = part.replace("{heap_mb}", _HEAP_MB)
        for inside, outside in places.items():
            if moved.startswith(inside):
                moved = outside + moved.removeprefix(inside)
        command.append(moved)
    return command


def _environment(hello: Hello, package: Path, port: int) -> dict[str, str]:
    return {
        **hello.environment(str(package)),
        "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
    }
