"""Starts a zygote without a jail, in the launcher's place.

The engine's side is the same, and so is the zygote (`bare_zygote.py`): a start in a
jail can be set beside one from which it differs in nothing but the jail.
"""

import asyncio
import itertools
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.jails import (
    ENVIRONMENT,
    FLAGS,
    Jails,
    ReadyZygote,
    WatchedLauncher,
    interpreter_of,
    ready_zygote,
)
from benchmarks.workloads import Workload
from sandlot_sandbox.host.berth import Cell
from sandlot_sandbox.spec import ZygoteDied

_HERE = Path(__file__).parent
_ENVIRONMENT = {**ENVIRONMENT, "LD_BIND_NOW": "1"}
"""As in a jail, where it decides how many pages a clone writes to."""


@asynccontextmanager
async def bare_zygote(
    jails: Jails, workload: Workload, *, is_profiled: bool = False
) -> AsyncIterator[ReadyZygote]:
    """A zygote that has imported the workload, with forks that enter no cell."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        launcher = _BareLauncher(ours, jails, workload, is_profiled=is_profiled)
        try:
            async with ready_zygote(launcher, jails.runtime, workload) as zygote:
                yield zygote
        finally:
            launcher.close()


class _BareLauncher(WatchedLauncher):
    """Of one zygote. Nobody is at the other end of its channel."""

    def __init__(
        self,
        channel: socket.socket,
        jails: Jails,
        workload: Workload,
        *,
        is_profiled: bool,
    ) -> None:
        super().__init__(channel)
        program = str(_HERE / "bare_zygote.py")
        self._command = [interpreter_of(jails.runtime), *FLAGS, program]
        self._arguments = [
            *(str(jails.runtime.guest_code), str(jails.unpack(workload))),
            str(_HERE) if is_profiled else "",
        ]
        self._cell_numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start_zygote(
        self,
        *_: Any,
        channel: int,
        log: int,
        on_death: Callable[[ZygoteDied], None],
        **__: Any,
    ) -> int:
        self.ordered_ns = time.monotonic_ns()
        try:
            self._process = process = subprocess.Popen(
                [*self._command, str(channel), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[channel],
                env=_ENVIRONMENT,
            )
        finally:
            os.close(channel)
            os.close(log)
        loop, pidfd = asyncio.get_running_loop(), os.pidfd_open(process.pid)

        def bury() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            on_death(ZygoteDied(1, f"ended with {process.wait()}", started=True))

        loop.add_reader(pidfd, bury)
        return 1

    def kill_zygote(self, zygote: int) -> None:
        if self._process is not None:
            self._process.kill()

    async def make_cell(self, zygote: int, *, heir_of: int = 0) -> Cell:
        # Nothing is frozen by what is written there.
        parts = ("pid", "mnt", "net", "freeze")
        null = [(part, os.open(os.devnull, os.O_RDWR)) for part in parts]
        return Cell(next(self._cell_numbers), tuple(null))

    async def kill_cell(self, zygote: int, cell: int, *, keeps: bool = False) -> str:
        """The instance ends by itself, when its channel is closed."""
        return ""
