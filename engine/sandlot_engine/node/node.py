"""Owns everything that runs tenants' code on this machine."""

import asyncio
from collections.abc import Awaitable, Callable

from sandlot_engine.errors import Throttled
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.node.hosted import GrantNetwork, Hosted, Printed
from sandlot_engine.node.launchers import Launchers

MAX_ZYGOTES = 256
"""Zygotes that are not dead, those that start or leave included. The version that was
used least recently, and has no instance at work, makes room for another."""

ROOM_S = 5.0
"""How long a start waits for such a one to be dead."""

_RETRY_AFTER_S = 5.0


class Node:
    """The versions that this machine hosts, by their revisions' ids."""

    def __init__(
        self,
        launchers: Launchers,
        *,
        unpack: Callable[[Revision], Awaitable[object]],
        grant_network: GrantNetwork,
        printed: Printed,
        region: str,
        max_zygotes: int = MAX_ZYGOTES,
        room_s: float = ROOM_S,
    ) -> None:
        self._launchers = launchers
        self._unpack = unpack
        self._grant_network = grant_network
        self._printed = printed
        self._region = region
        self._hosted: dict[str, Hosted] = {}
        self._max_zygotes = max_zygotes
        self._room_s = room_s
        self._room = asyncio.Semaphore(max_zygotes)

    @property
    def region(self) -> str:
        return self._region

    @property
    def zygotes(self) -> int:
        return sum(hosted.zygotes for hosted in self._hosted.values())

    @property
    def instances(self) -> int:
        return sum(hosted.instances for hosted in self._hosted.values())

    def host(self, function: Function, revision: Revision) -> Hosted:
        """The hosted version; nothing is started yet."""
        hosted = self._hosted.get(revision.id)
        if hosted is None:
            hosted = self._hosted[revision.id] = Hosted(
                function,
                revision,
                launchers=self._launchers,
                places=self,
                unpack=self._unpack,
                grant_network=self._grant_network,
                region=self._region,
                printed=self._printed,
            )
        return hosted

    def retire(self, revision_id: str) -> None:
        """End a version for good: its zygotes and instances die now."""
        if (hosted := self._hosted.pop(revision_id, None)) is not None:
            hosted.retire()

    async def take_place(self) -> None:
        """A place for one more zygote, to be given back when that is dead.

        Raises `Throttled` where none becomes free.
        """
        if self._room.locked():
            self._rest_stalest()
        try:
            async with asyncio.timeout(self._room_s):
                await self._room.acquire()
        except TimeoutError:
            raise Throttled(
                f"this machine has {self._max_zygotes} functions in memory of"
                f" {self._max_zygotes} allowed, and none could make room. Nothing"
                " ran; send it again later",
                reason="ConcurrentInvocationLimitExceeded",
                limit=self._max_zygotes,
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    def give_back_place(self) -> None:
        """See `take_place`."""
        self._room.release()

    def _rest_stalest(self) -> None:
        idle = [h for h in self._hosted.values() if h.is_live and not h.is_busy]
        if idle:
            min(idle, key=lambda hosted: hosted.last_used).rest()
