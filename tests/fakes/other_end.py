"""An instance of the host's, and its other end, which the test is."""

import asyncio
import os
import socket
from contextlib import ExitStack

from sandlot_sandbox import frames
from sandlot_sandbox.host.footprint import Footprint
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.minder import Minder
from sandlot_sandbox.host.wire import FrameWire
from sandlot_sandbox.outcome import Ended

WAIT_S = 5.0


class OtherEnd:
    """An instance and what speaks for it."""

    def __init__(
        self,
        stack: ExitStack,
        *,
        sheds: bool = True,
        footprint: Footprint | None = None,
        minder: Minder | None = None,
    ) -> None:
        ours, self.channel = socket.socketpair()
        stack.callback(self.channel.close)
        read, write = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, write)
        self.minder = minder or Minder()
        self.thaws = 0
        self.instance = Instance(
            FrameWire(ours),
            read,
            hold=Hold({"freeze": os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)}),
            minder=self.minder,
            memory_mb=128,
            sheds=sheds,
            footprint=footprint,
            kill=_kill,
            on_thaw=self._note_thaw,
            on_death=lambda _: None,
        )
        stack.callback(self.instance._bury)  # noqa: SLF001 - nobody kills it
        self.channel.setblocking(False)

    def _note_thaw(self) -> None:
        self.thaws += 1

    async def hears(self, size: int = 1 << 16) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await asyncio.get_running_loop().sock_recv(self.channel, size)

    def is_ready(self) -> None:
        self.channel.send(frames.encode_answer(frames.READY, b""))

    async def serve(
        self, *, after: bytes = b"", first: bytes = b"", isolation_key: str = ""
    ) -> Ended:
        """One event; what it hears before it is `after`, and says before its answer
        `first`."""
        header = frames.EventHeader("r", 1, "arn", tenant_id=isolation_key)
        running = asyncio.ensure_future(
            self.instance.invoke(header, b"{}", timeout_s=WAIT_S)
        )
        heard = b""
        while not heard.endswith(b"{}"):
            heard += await self.hears()
        assert heard == after + frames.encode_event(header, b"{}")
        self.channel.send(first + frames.encode_answer(frames.ANSWER, b"{}"))
        async with asyncio.timeout(WAIT_S):
            return (await running).ended

    async def becomes_frozen(self) -> None:
        async with asyncio.timeout(WAIT_S):
            while not self.instance.is_frozen:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

    def has_nothing_to_hear(self) -> bool:
        try:
            return not self.channel.recv(1)
        except BlockingIOError:
            return True


async def _kill() -> str:
    return ""
