"""`sandlot up` as a process that the demo starts, waits for, and stops."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

READY_S = 30.0
"""From the start to the line that says Ready."""

STOP_S = 15.0
"""From SIGTERM to the end of the last process."""

GONE_S = 1.0
"""From there to the end of the last jail, which the kernel takes down."""

_LOG_LINES = 20
_MAX_LINE = 65_536
_LOOK_EVERY_S = 0.02


class DemoFailed(Exception):
    """Something that the demo shows did not happen; the message says what."""


class Engine:
    """A running engine. At the end it is stopped, and nothing of it is left.

    Raises `DemoFailed` if it does not start, or does not stop as it should.
    """

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self.address = ""
        self.pid = 0
        self.watched = 0
        """How many processes it had when it was told to stop."""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [
            *(sys.executable, "-m", "sandlot", "up", "--json"),
            *("--data", str(self.data)),
            *("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
        ]
        with self._log.open("wb") as log:
            # Not in our group: Ctrl-C is for us, who then stop it in order.
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, process_group=0
            )
        try:
            ready = json.loads(self._wait_first_line())
        except BaseException:
            self._end()
            raise
        self.address, self.pid = ready["grpc"], ready["pid"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code, left = self._end()
        if error is None and (code or left):
            what = f"{len(left)} processes are left: {left}" if left else self._tail()
            raise DemoFailed(f"the engine ended with exit code {code}; {what}")

    def _wait_first_line(self) -> bytes:
        """Read by hand: `readline` would wait for ever for an engine that hangs."""
        assert self._process is not None  # noqa: S101 - called by __enter__
        assert self._process.stdout is not None  # noqa: S101 - asked for there
        deadline = time.monotonic() + READY_S
        stdout, line = self._process.stdout.fileno(), b""
        while not line.endswith(b"\n"):
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([stdout], [], [], left_s)[0]:
                raise DemoFailed(f"no engine within {READY_S:g} s. {self._tail()}")
            data = os.read(stdout, _MAX_LINE)
            if not data:
                raise DemoFailed(f"the engine did not start. {self._tail()}")
            line += data
        return line

    def _end(self) -> tuple[int | None, list[str]]:
        """Its exit code, and what outlived it. Whatever did is killed then."""
        process = self._process
        assert process is not None  # noqa: S101 - there is one from __enter__ on
        family = _family(process.pid)
        self.watched = len(family)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        left = wait_ended(family, time.monotonic() + GONE_S)
        told = [f"{one.pid} {one.name()}" for one in left]
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        return process.returncode, told

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
        return "It wrote:\n" + "\n".join(lines) if lines else "It wrote nothing."


def _family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, and they started."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_ended(family: list[psutil.Process], deadline: float) -> list[psutil.Process]:
    """Those that still run at the deadline. A zombie does not: it has ended."""
    while left := [one for one in family if _runs(one)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_EVERY_S)
    return left


def _runs(process: psutil.Process) -> bool:
    """Whoever inherits orphans may collect them late, or never, as in a container."""
    try:
        # Not `is_running` alone, which is so of a zombie too.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
