"""A launcher and a zygote that say what a test likes."""

import asyncio
import os
import socket

from sandlot_sandbox import frames, spec
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.host.recipe import Recipe
from sandlot_sandbox.host.zygote import Zygote
from sandlot_sandbox.limits import Limits

WAIT_S = 5.0

RECIPE = Recipe(
    runtime="python3.11",
    limits=Limits(memory_mb=128, tmp_mb=16),
    code="0" * 64,
    settings={"handler": "app.handler"},
)


class Jail:
    """The launcher's end of its channel, and of a zygote's, once one was ordered."""

    def __init__(self) -> None:
        ours, self._channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.launcher = Launcher(ours, on_lost=lambda: None)
        self.lost = asyncio.Event()
        self.channel: socket.socket
        self._log = -1
        self.number = 0

    def make_zygote(self) -> Zygote:
        zygote = Zygote(self.launcher, RECIPE, on_lost=lambda _: self.lost.set())
        datagram, (channel, self._log), _, _ = socket.recv_fds(
            self._channel, spec.MAX_MESSAGE, 2
        )
        order = spec.decode_order(datagram)
        assert isinstance(order, spec.StartZygote)
        self.number = order.zygote
        self.channel = socket.socket(fileno=channel)
        return zygote

    def report(self, report: spec.Report, *descriptors: int) -> None:
        socket.send_fds(self._channel, [spec.encode(report)], list(descriptors))

    def say(self, kind: int) -> None:
        """As the zygote."""
        self.channel.send(frames.encode_note(kind))

    async def next_order(self) -> spec.Order:
        loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        async with asyncio.timeout(WAIT_S):
            return spec.decode_order(
                await loop.sock_recv(self._channel, spec.MAX_MESSAGE)
            )

    def close(self) -> None:
        self.launcher.close()
        self._channel.close()
        if self.number:
            self.channel.close()
            os.close(self._log)
