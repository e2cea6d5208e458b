"""What an instance does whose program is not ours: becomes it.

Runs in a clone of a zygote that has imported nothing of the tenant's, after the clone
has entered its cell and given up all that it had. Extensions are started first, and
then this process stays as their parent: it is the tenant's from then on, like them.
"""

from __future__ import annotations

import contextlib
import os
import stat

from sandlot_sandbox import frames, linux
from sandlot_sandbox.guest import failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

BOOTSTRAP = "bootstrap"
"""Stands for a program that the tenant brings along."""

_BOOTSTRAPS = ("/var/task/bootstrap", "/opt/bootstrap")
_EXTENSIONS = "/opt/extensions"
MAX_EXTENSIONS = 10
"""Of a function, as AWS Lambda has it."""

_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
_MEMORY = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
_HEAP_SHARE = 90
"""Percent of a function's memory that a language with a heap of its own may fill."""

_API = "AWS_LAMBDA_RUNTIME_API"
_NOT_FOR_EXTENSIONS = frozenset(("AWS_XRAY_CONTEXT_MISSING",))
_NO_PROGRAM, _NOT_STARTED = 1, 127


def run(program: list[str], port: int, channel: socket.socket) -> None:
    """Never returns. `program` is an argument list, or `BOOTSTRAP` alone; `port` is the
    Runtime API's, on loopback; `channel` hears why nothing was started, and no more."""
    status = _NO_PROGRAM
    try:
        environment = {**os.environ, _API: f"127.0.0.1:{port}"}
        argv = _wrapped(program, environment)
        linux.heed_signals()
        extensions = _start_extensions(environment)
        if not extensions:
            _become(argv, environment)
        runtime = os.fork()
        if not runtime:
            _become_or_exit(argv, environment)
        status = _mind(runtime, extensions, channel)
    except OSError as error:
        _tell(channel, "Runtime.InvalidEntrypoint", _why(program, error))
    finally:
        os._exit(status)


def _wrapped(program: list[str], environment: dict[str, str]) -> list[str]:
    """What is run in the end. Raises `OSError`."""
    if program != [BOOTSTRAP]:
        heap_mb = int(environment.get(_MEMORY, "128")) * _HEAP_SHARE // 100
        program = [part.replace("{heap_mb}", str(heap_mb)) for part in program]
        wrapper = environment.get(_WRAPPER)
        return [wrapper, *program] if wrapper else program
    found = [path for path in _BOOTSTRAPS if os.path.lexists(path)]
    if not found:
        raise FileNotFoundError
    return found[:1]


def _become(argv: list[str], environment: dict[str, str]) -> None:
    os.execve(argv[0], argv, environment)  # noqa: S606 - it is what we are for


def _become_or_exit(argv: list[str], environment: dict[str, str]) -> None:
    try:
        _become(argv, environment)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _start_extensions(environment: dict[str, str]) -> dict[int, str]:
    """Names by pid, of the external ones. They see nothing that is the runtime's."""
    mine = {
        name: value
        for name, value in environment.items()
        if not name.startswith("_") and name not in _NOT_FOR_EXTENSIONS
    }
    started = {}
    for name in _extensions():
        path = f"{_EXTENSIONS}/{name}"
        pid = os.fork()
        if not pid:
            _become_or_exit([path], mine)
        started[pid] = name
    return started


def _extensions() -> list[str]:
    try:
        names = sorted(os.listdir(_EXTENSIONS))
    except OSError:
        return []
    found = [name for name in names if _is_program(f"{_EXTENSIONS}/{name}")]
    return found[:MAX_EXTENSIONS]


def _is_program(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def _mind(runtime: int, extensions: dict[int, str], channel: socket.socket) -> int:
    """Until one of them ends, which ends all; our exit status is the runtime's."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == runtime:
            return _ended_as(status)
        if (name := extensions.pop(pid, None)) is not None:
            _tell(channel, "Extension.Crash", f"{name} ended: {_how(status)}")
            return _NO_PROGRAM


def _ended_as(status: int) -> int:
    """Ends as it did, by the same signal if it was one."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        os.kill(os.getpid(), -code)
    return abs(code)


def _why(program: list[str], error: OSError) -> str:
    if program == [BOOTSTRAP] and isinstance(error, FileNotFoundError):
        return f"Couldn't find valid bootstrap(s): [{' '.join(_BOOTSTRAPS)}]"
    return f"fork/exec {error.filename or program[0]}: {error.strerror}"


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"signal {-code}"


def _tell(channel: socket.socket, error_type: str, message: str) -> None:
    os.write(2, f"{error_type}: {message}\n".encode("utf-8", "replace"))
    payload = failures.error_payload(failures.Failure(error_type, message), "")
    answer = frames.encode_answer(frames.INIT_ERROR, payload, error_type=error_type)
    with contextlib.suppress(OSError):
        channel.sendall(answer)
