"""One zygote of a launcher, by itself: its process, and those that it makes."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.limits import Limits
from tests.isolation.machine import RUNTIME, WAIT_S, Guest, Sandbox, ask, descendants
from tests.isolation.posture import is_zygote

TMP_MB = 16
MEMORY_MB = 128


class Alone:
    """A guest, and its zygote's process."""

    def __init__(
        self, sandbox: Sandbox, guest: str = "curious", **settings: Any
    ) -> None:
        self._sandbox = sandbox
        self._running = sandbox.running(
            guest, tmp_mb=TMP_MB, memory_mb=MEMORY_MB, **settings
        )

    async def __aenter__(self) -> tuple[Guest, int]:
        before = set(descendants(self._sandbox.process.pid))
        guest = await self._running.__aenter__()
        new = set(descendants(self._sandbox.process.pid)) - before
        zygotes = [pid for pid in new if is_zygote(pid)]
        assert len(zygotes) == 1
        return guest, zygotes[0]

    async def __aexit__(self, *raised: Any) -> None:
        await self._running.__aexit__(*raised)


async def instance_of(guest: Guest, zygote: int) -> int:
    """A new instance that has initialised; its process."""
    before = set(descendants(zygote))
    instance = await guest.fork()
    await ask(instance, "tmp")
    (pid,) = set(descendants(zygote)) - before
    return pid


@contextlib.asynccontextmanager
async def unconfigured(sandbox: Sandbox) -> AsyncIterator[int]:
    """A zygote's process that waits for its settings: nothing of its function's has
    been read, nor can it be."""
    before = set(descendants(sandbox.process.pid))
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log, write = os.pipe2(os.O_CLOEXEC)
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Hold] = loop.create_future()
    died = asyncio.Event()
    number = sandbox.launcher.start_zygote(
        RUNTIME,
        Limits(memory_mb=MEMORY_MB, tmp_mb=TMP_MB),
        code=sandbox.store.add("curious"),
        opt="",
        network="none",
        allow=(),
        channel=theirs.detach(),
        log=write,
        on_made=made.set_result,
        on_death=lambda _: died.set(),
    )
    try:
        async with asyncio.timeout(WAIT_S):
            await made
            new = set(descendants(sandbox.process.pid)) - before
            (pid,) = [pid for pid in new if is_zygote(pid)]
            while not _reads(pid, descriptor=3):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
        yield pid
    finally:
        sandbox.launcher.kill_zygote(number)
        async with asyncio.timeout(WAIT_S):
            await died.wait()
        if made.done():
            made.result().close()  # not before: who lets go of a leash ends the jail
        channel.close()
        os.close(log)


def _reads(pid: int, *, descriptor: int) -> bool:
    """Whether it waits in a system call about that descriptor."""
    call = Path(f"/proc/{pid}/syscall").read_text().split()
    return len(call) > 1 and call[1] == hex(descriptor)
