"""The same work done without us: by a new interpreter, and by a bare fork.

The bare fork is the floor: a process as warm as our zygote, `os.fork`, and not one
namespace, filter or limit. What we take beyond it is what the jail costs. A clone into
new namespaces is the floor of whatever isolates by namespaces.
"""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.jails import ENVIRONMENT, FLAGS, TIMEOUT_S, interpreter_of
from benchmarks.workloads import Workload
from sandlot_sandbox.launcher.runtime import Runtime

_SERVER = Path(__file__).with_name("bare_fork_server.py")

EXEC = (
    "import sys; sys.path.insert(0, sys.argv[1]); import importlib, json;"
    " handler = importlib.import_module(sys.argv[2]).handler;"
    " print(json.dumps(handler(json.loads(sys.argv[3]), None)))"
)

_ECHO = (
    "import socket, sys; channel = socket.socket(fileno=int(sys.argv[1]))\n"
    "while event := channel.recv(1 << 16): channel.send(event)"
)

_MAX_ANSWER = 1 << 16


def exec_python(runtime: Runtime, package: Path, workload: Workload) -> float:
    """Seconds until a new interpreter has printed the first byte of its answer."""
    return time_to_first_byte(
        [
            *(interpreter_of(runtime), *FLAGS, "-c", EXEC),
            *(str(package), workload.module, workload.payload.decode()),
        ],
        environment=ENVIRONMENT,
    )


def time_to_first_byte(command: list[str], *, environment: dict[str, str]) -> float:
    """Seconds until a command has written the first byte to its stdout.

    Raises `RuntimeError` where it writes none, or fails afterwards.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None  # noqa: S101
        try:
            ready, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
            first = os.read(process.stdout.fileno(), 1) if ready else b""
            took = time.perf_counter() - began
            said = process.communicate(timeout=TIMEOUT_S)[1]
        except BaseException:
            process.kill()
            raise
    if not first or process.returncode:
        raise RuntimeError(
            f"{command[0]} ended with {process.returncode}:"
            f" {said.decode('utf-8', 'replace').strip()[-400:]}"
        )
    return took


class BareChild:
    """A forked process that answers, one event after another."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def ask(self, event: bytes) -> bytes:
        self._channel.send(event)
        return self._channel.recv(_MAX_ANSWER)

    def close(self) -> None:
        """It ends by itself then."""
        self._channel.close()


class BareForkServer:
    """A process that has imported the workload, and forks when told to."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def fork(self) -> BareChild:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
        ours.settimeout(TIMEOUT_S)
        return BareChild(ours)


@contextmanager
def bare_fork_server(
    runtime: Runtime,
    package: Path,
    workload: Workload,
    *,
    with_namespaces: bool = False,
) -> Iterator[BareForkServer]:
    """Ended, with what it forked, when the block is left.

    `with_namespaces`: its children are cloned into namespaces of their own instead.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [
                *(interpreter_of(runtime), *FLAGS, str(_SERVER), str(theirs.fileno())),
                *(str(package), str(runtime.guest_code), workload.module),
                "namespaces" if with_namespaces else "",
            ],
            pass_fds=[theirs.fileno()],
            env=ENVIRONMENT,
        )
    try:
        with ours:
            ours.settimeout(TIMEOUT_S)
            if ours.recv(16) != b"ready":
                raise RuntimeError(
                    f"the bare fork server could not run {workload.name}"
                )
            yield BareForkServer(ours)
    finally:
        process.wait(TIMEOUT_S)


@contextmanager
def socket_echo() -> Iterator[BareChild]:
    """A process that sends back what it is sent; ended when the block is left."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *FLAGS, "-c", _ECHO, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
    try:
        with ours:
            ours.settimeout(TIMEOUT_S)
            yield BareChild(ours)
    finally:
        process.wait(TIMEOUT_S)
