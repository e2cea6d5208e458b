"""What an instance does whose program is not ours: becomes it.

Out of a zygote that has imported nothing of the tenant's. Mostly all is known that is
to be done, and a child does it that never was a clone: `Start`. Else a clone enters its
cell, gives up all that it had, and goes on here: `run`. Extensions are started first,
and then this process stays as their parent: it is the tenant's from then on, like them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import stat
import time

from sandlot_sandbox import frames, linux
from sandlot_sandbox.guest import calls, delivery, failures, image_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandlot_sandbox.guest.calls import Calls

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
_GRACE_S = 0.3
"""Between asking the runtime to end and making it."""

_FIRST_OF_OURS, _LAST_OF_ALL = 3, 0xFFFFFFFF
"""Descriptors: below them are stdin, stdout and stderr."""

_SIGTERM, _SIGKILL = int(signal.SIGTERM), int(signal.SIGKILL)


class Start:
    """How a program is started that is known before there is a process for it."""

    def __init__(
        self, program: list[str], argv: list[str], environment: dict[str, str]
    ) -> None:
        self.program = program
        """What the zygote was given."""
        self.argv = argv
        self.environment = environment

    def spawn(self, way: Calls, *, log: int, channel: int) -> int:
        """Have a child go that way, and become the program; its pid. Who cannot be
        started is told of in its log and its channel. Raises `OSError` if there is no
        child."""
        for number in linux.IGNORED_BY_PYTHON:
            way.add("rt_sigaction", *linux.default_action(number))
        way.add("close_range", _FIRST_OF_OURS, _LAST_OF_ALL, 0)
        environment = [os.fsencode(f"{k}={v}") for k, v in self.environment.items()]
        way.add(
            "execve",
            os.fsencode(self.argv[0]),
            way.words([os.fsencode(argument) for argument in self.argv]),
            way.words(environment),
        )
        is_wrapped = _is_wrapped(self.argv, self.environment)
        pid, failed = way.prepared().spawn(_NOT_STARTED if is_wrapped else _NO_PROGRAM)
        if failed is None:
            return pid
        if failed.name != "execve":
            text = f"sandlot: the cell could not be entered: {failed.strerror}\n"
            os.write(log, text.encode())
        elif is_wrapped:
            _say_not_started(log, self.argv, failed)
        else:
            with socket.socket(fileno=os.dup(channel)) as theirs:
                why = _why(self.program, self.argv, failed)
                _tell(theirs, "Runtime.InvalidEntrypoint", why, log=log)
        return pid


def start_of(program: list[str], port: int) -> Start | None:
    """None where a clone has to look further: extensions come first, or there is
    nothing that could be started, which it says."""
    if not calls.CAN_SPAWN or os.path.lexists(_EXTENSIONS):
        return None
    environment = _environment(port)
    try:
        return Start(program, _wrapped(program, environment), environment)
    except OSError:
        return None


def run(
    program: list[str],
    port: int,
    channel: socket.socket,
    extension_log: int,
    image: image_run.Run | None = None,
) -> None:
    """Never returns. `program` is an argument list, or `BOOTSTRAP` alone; of an `image`
    it is what that says. `port` is the Runtime API's, on loopback; `channel` hears why
    nothing was started, and, where there are extensions, says when the runtime may
    start. What they print goes to `extension_log`."""
    status, argv = _NO_PROGRAM, program
    try:
        environment = _environment(port)
        argv = _argv(program, environment, image)
        os.set_inheritable(extension_log, False)
        if names := _extensions():
            status = _Parent(channel, argv, environment, extension_log).run(names)
        else:
            linux.heed_signals()
            if image is None and _is_wrapped(argv, environment):
                status = _NOT_STARTED
                _become_or_say(argv, environment)
            else:
                _become(argv, environment)
    except _Trouble as trouble:
        _tell(channel, trouble.error_type, trouble.message)
    except OSError as error:
        _tell(channel, "Runtime.InvalidEntrypoint", _why(program, argv, error))
    except BaseException as error:  # noqa: BLE001 - nobody else would tell of it
        _tell(channel, "Sandbox.Failure", f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _environment(port: int) -> dict[str, str]:
    return {**os.environ, _API: f"127.0.0.1:{port}"}


def _is_wrapped(argv: list[str], environment: dict[str, str]) -> bool:
    return environment.get(_WRAPPER) == argv[0]


def _argv(
    program: list[str], environment: dict[str, str], image: image_run.Run | None
) -> list[str]:
    if image is None:
        return _wrapped(program, environment)
    try:
        return image.enter(environment)
    except image_run.CannotRun as error:
        raise _Trouble(error.error_type, str(error)) from None


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


def _become_or_say(argv: list[str], environment: dict[str, str]) -> None:
    """As a shell does it: who cannot be started is named in the log, and the exit
    status is 127."""
    try:
        _become(argv, environment)
    except OSError as error:
        _say_not_started(2, argv, error)


def _say_not_started(log: int, argv: list[str], error: OSError) -> None:
    why = os.strerror(error.errno or 0)
    os.write(log, f"{argv[0]}: {why}\n".encode("utf-8", "replace"))


class _Trouble(Exception):
    """Why there is no instance, in AWS's words."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


class _Parent:
    """The parent of the runtime and the extensions, until one that was not told to end
    has ended, which ends all."""

    def __init__(
        self,
        channel: socket.socket,
        argv: list[str],
        environment: dict[str, str],
        extension_log: int,
    ) -> None:
        self._channel = channel
        self._extension_log = extension_log
        self._argv = argv
        self._environment = environment
        self._extensions: dict[int, str] = {}
        """Names by pid."""
        self._couriers = delivery.Couriers(channel)
        self._runtime = 0
        self._is_ending = False
        self._heirs: list[str] | None = None
        """Who goes on after the runtime, once that is known."""
        self._kill_at: float | None = None
        self._status = _NO_PROGRAM

    def run(self, names: list[str]) -> int:
        """What to exit with."""
        wake = delivery.wake_at_deaths()
        listed = b"\0".join(os.fsencode(name) for name in names)
        self._channel.sendall(frames.encode_answer(frames.EXTENSIONS, listed))
        for name in names:
            self._start_extension(name)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while self._extensions or self._runtime:
            for fd, _ in poll.poll(self._patience_ms()):
                if fd == wake:
                    os.read(wake, 512)
                    if not self._reap():
                        return self._status
                elif not self._obey():
                    # The engine lets go of us, or will not have us go on.
                    return self._status
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                self._signal_runtime(_SIGKILL)
        return self._status

    def _patience_ms(self) -> float | None:
        if self._kill_at is None:
            return None
        return max(0.0, self._kill_at - time.monotonic()) * 1000 + 1

    def _obey(self) -> bool:
        order = frames.read_order(self._channel)
        if order is None:
            return False
        kind, where, body = order
        if kind == frames.START_RUNTIME and not self._runtime:
            self._start_runtime()
        elif kind in (frames.END_RUNTIME, frames.KILL_RUNTIME):
            self._is_ending = True
            self._heirs = [os.fsdecode(name) for name in body.split(b"\0")]
            if kind == frames.KILL_RUNTIME:
                self._signal_runtime(_SIGKILL)
            else:
                self._signal_runtime(_SIGTERM)
                self._kill_at = time.monotonic() + _GRACE_S
        elif kind == frames.DELIVER:
            self._couriers.send(where, body)
        return True

    def _signal_runtime(self, number: int) -> None:
        if self._runtime:
            os.kill(self._runtime, number)
        else:
            self._end_with_runtime(0)

    def _start_runtime(self) -> None:
        pid = os.fork()
        if not pid:
            try:
                linux.heed_signals()
                _become_or_say(self._argv, self._environment)
            finally:
                os._exit(_NOT_STARTED)
        self._runtime = pid

    def _start_extension(self, name: str) -> None:
        """It sees nothing that is the runtime's."""
        path = f"{_EXTENSIONS}/{name}"
        mine = {
            variable: value
            for variable, value in self._environment.items()
            if not variable.startswith("_") and variable not in _NOT_FOR_EXTENSIONS
        }
        failed, fails = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if not pid:
            try:
                os.dup2(self._extension_log, 1)
                os.dup2(self._extension_log, 2)
                linux.heed_signals()
                _become([path], mine)
            except OSError as error:
                os.write(fails, str(error.strerror).encode())
            finally:
                os._exit(_NOT_STARTED)
        os.close(fails)
        said = os.read(failed, 256)
        os.close(failed)
        if said:
            raise _Trouble("Extension.LaunchError", f"{path}: {said.decode()}")
        self._extensions[pid] = name

    def _reap(self) -> bool:
        """Whether the rest may go on."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not pid:
                return True
            if pid == self._runtime:
                self._runtime = 0
                self._kill_at = None
                self._is_ending = True
                self._status = _ended_as(status)
                self._end_with_runtime(status)
                continue
            if self._couriers.note_ended(pid, status):
                continue
            name = self._extensions.pop(pid, None)
            if name is not None and not self._is_ending:
                how = f"{name} ended: {_how(status)}"
                _tell(self._channel, "Extension.Crash", how)
                # The engine ends the others, and us.
                self._is_ending = True

    def _end_with_runtime(self, status: int) -> None:
        if self._heirs is not None:
            for pid, name in self._extensions.items():
                if name not in self._heirs:
                    os.kill(pid, _SIGKILL)
        with contextlib.suppress(OSError):
            self._channel.sendall(
                frames.encode_answer(frames.RUNTIME_ENDED, str(status).encode())
            )


def _extensions() -> list[str]:
    """Names of the external ones. Raises `_Trouble` where there are too many."""
    try:
        names = sorted(os.listdir(_EXTENSIONS))
    except OSError:
        return []
    found = [name for name in names if _is_program(f"{_EXTENSIONS}/{name}")]
    if len(found) > MAX_EXTENSIONS:
        raise _Trouble(
            "Extension.TooManyExtensions",
            f"{len(found)} extensions in {_EXTENSIONS}, of {MAX_EXTENSIONS} allowed",
        )
    return found


def _is_program(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def _ended_as(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _NO_PROGRAM


def _why(program: list[str], argv: list[str], error: OSError) -> str:
    if program == [BOOTSTRAP] and error.errno is None:
        return f"Couldn't find valid bootstrap(s): [{' '.join(_BOOTSTRAPS)}]"
    # As Go, in which AWS's own supervisor is written, has them: in lower case.
    why = os.strerror(error.errno or errno.ENOENT).lower()
    return f"fork/exec {argv[0]}: {why}"


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"signal {-code}"


def _tell(
    channel: socket.socket, error_type: str, message: str, *, log: int = 2
) -> None:
    os.write(log, f"{error_type}: {message}\n".encode("utf-8", "replace"))
    payload = failures.error_payload(failures.Failure(error_type, message), "")
    answer = frames.encode_answer(frames.INIT_ERROR, payload, error_type=error_type)
    with contextlib.suppress(OSError):
        channel.sendall(answer)
