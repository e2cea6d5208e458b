"""Owns everything that runs tenants' code on this machine."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sandlot_engine.model.function import Function, Revision
from sandlot_engine.node.hosted import Hosted, Printed
from sandlot_engine.node.launchers import Launchers
from sandlot_sandbox.spec import Hello

MAX_ZYGOTES = 256
"""Live zygotes; the one that was used least recently makes room."""


class Node:
    """The versions that this machine hosts, by their revisions' ids."""

    def __init__(
        self,
        *,
        unpack: Callable[[Revision], Awaitable[object]],
        printed: Printed,
        region: str,
    ) -> None:
        self._launchers = Launchers()
        self._unpack = unpack
        self._printed = printed
        self._region = region
        self._hosted: dict[str, Hosted] = {}

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        *,
        unpack: Callable[[Revision], Awaitable[object]],
        printed: Printed,
        region: str,
    ) -> AsyncIterator["Node"]:
        """A node; at the end its launcher is told to kill every jail."""
        node = cls(unpack=unpack, printed=printed, region=region)
        try:
            yield node
        finally:
            node._launchers.close()
            # One turn of the loop, for what the deaths of instances set in motion.
            await asyncio.sleep(0)

    @property
    def region(self) -> str:
        return self._region

    @property
    def hello(self) -> Hello | None:
        """What the launcher found this machine to enforce."""
        return self._launchers.hello

    @property
    def zygotes(self) -> int:
        return sum(hosted.is_live for hosted in self._hosted.values())

    @property
    def instances(self) -> int:
        return sum(hosted.instances for hosted in self._hosted.values())

    async def adopt_launcher(self, channel: socket.socket) -> Hello:
        """Take a launcher into use. Raises `LauncherLost` if it died at once."""
        return await self._launchers.adopt(channel)

    def host(self, function: Function, revision: Revision) -> Hosted:
        """The hosted version; nothing is started yet."""
        hosted = self._hosted.get(revision.id)
        if hosted is None:
            self._make_room()
            hosted = self._hosted[revision.id] = Hosted(
                function,
                revision,
                launchers=self._launchers,
                unpack=self._unpack,
                region=self._region,
                printed=self._printed,
            )
        return hosted

    def retire(self, revision_id: str) -> None:
        """End a version for good: its zygote and instances die now."""
        if (hosted := self._hosted.pop(revision_id, None)) is not None:
            hosted.retire()

    def _make_room(self) -> None:
        live = [h for h in self._hosted.values() if h.is_live and not h.instances]
        if self.zygotes >= MAX_ZYGOTES and live:
            min(live, key=lambda hosted: hosted.last_used).rest()
