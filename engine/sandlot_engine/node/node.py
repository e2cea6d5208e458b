"""Owns everything that runs tenants' code on this machine."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable

from sandlot_engine.errors import Throttled
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.node.hosted import GrantNetwork, Hosted, Printed, Unpack
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.pressure import machine_mb, short_mb

MAX_ZYGOTES = 256
"""Zygotes that are not dead, those that start or leave included. The version that was
left alone longest, by what its start took, and has no instance at work, makes room for
another: one of the tenant that has the most."""

SHARE = 2
"""One tenant has at most the whole divided by this: it may have all of them at work."""

MAX_KEPT_SHARE = 2
"""Of the whole, and of one tenant's share, the part divided by this need not make room:
others must find some."""

ROOM_S = 5.0
"""How long a start waits for such a one to be dead."""

FAREWELL_S = 4.0
"""How long the engine's end waits for extensions, which have two seconds."""

_RETRY_AFTER_S = 5.0


class Node:
    """The versions that this machine hosts, by their revisions' ids."""

    def __init__(
        self,
        launchers: Launchers,
        *,
        unpack: Unpack,
        grant_network: GrantNetwork,
        printed: Printed,
        region: str,
        max_zygotes: int = MAX_ZYGOTES,
        room_s: float = ROOM_S,
        memory_mb: int = 0,
    ) -> None:
        self._launchers = launchers
        self._unpack = unpack
        self._grant_network = grant_network
        self._printed = printed
        self._region = region
        self._hosted: dict[str, Hosted] = {}
        self._kept: dict[str, str] = {}
        """Revisions that need not make room, and their tenants."""

        self._max_zygotes = max_zygotes
        self._room_s = room_s
        self._memory_mb = memory_mb
        """What all zygotes and instances may use; 0: as much as the machine has."""
        self._max_of_tenant = max(1, max_zygotes // SHARE)
        self._room = asyncio.Semaphore(max_zygotes)
        self._shares: dict[str, asyncio.Semaphore] = {}
        """Of tenants that have places, or wait for one."""

        self._taken: Counter[str] = Counter()
        """Places, by tenant; those that are waited for included."""

    @property
    def region(self) -> str:
        return self._region

    @property
    def zygotes(self) -> int:
        return sum(hosted.zygotes for hosted in self._hosted.values())

    @property
    def instances(self) -> int:
        return sum(hosted.instances for hosted in self._hosted.values())

    def short_mb(self) -> float:
        """How much memory has to be given back now."""
        total_mb, available_mb = machine_mb()
        # Only where it is asked for: it is a look at every zygote.
        used_mb = (
            sum(h.used_mb for h in self._hosted.values()) if self._memory_mb else 0
        )
        return short_mb(
            total_mb=total_mb,
            available_mb=available_mb,
            used_mb=used_mb,
            budget_mb=self._memory_mb,
        )

    def drop_kept(self) -> None:
        """Give back what is kept of instances that ended, for those to come."""
        for hosted in self._hosted.values():
            hosted.drop_kept()

    def shed(self, short_mb: float) -> None:
        """Rest versions without instances, until that much memory is given back."""
        while short_mb > 0:
            hosted = _first_to_go(
                hosted
                for revision, hosted in self._hosted.items()
                if hosted.is_live
                and not hosted.has_instances
                and revision not in self._kept
            )
            if hosted is None:
                return
            short_mb -= max(1.0, hosted.used_mb)
            hosted.rest()

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

    def keep(self, tenant_id: str, revision_id: str, *, is_kept: bool) -> None:
        """From now on a version need not make room for others, or has to again. Only
        so many can be kept, in all and of one tenant: the rest are as before."""
        self._kept.pop(revision_id, None)
        kept_of_tenant = sum(each == tenant_id for each in self._kept.values())
        if (
            is_kept
            and len(self._kept) < self._max_zygotes // MAX_KEPT_SHARE
            and kept_of_tenant < self._max_of_tenant // MAX_KEPT_SHARE
        ):
            self._kept[revision_id] = tenant_id

    def retire(self, revision_id: str) -> None:
        """End a version for good: its zygotes and instances die now."""
        self._kept.pop(revision_id, None)
        if (hosted := self._hosted.pop(revision_id, None)) is not None:
            hosted.retire()

    async def say_farewell(self) -> None:
        """Before the launcher is hung up on: extensions are told that it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S), asyncio.TaskGroup() as group:
                for hosted in tuple(self._hosted.values()):
                    group.create_task(hosted.say_farewell())

    async def take_place(self, tenant_id: str) -> None:
        """A place for one more zygote, to be given back when that is dead.

        Raises `Throttled` where none becomes free.
        """
        share = self._shares.setdefault(
            tenant_id, asyncio.Semaphore(self._max_of_tenant)
        )
        self._make_room(tenant_id, share)
        self._taken[tenant_id] += 1
        try:
            async with asyncio.timeout(self._room_s):
                await share.acquire()
                try:
                    await self._room.acquire()
                except BaseException:
                    share.release()
                    raise
        except TimeoutError:
            self._forget_place(tenant_id)
            raise self._full(is_share=share.locked()) from None
        except BaseException:
            self._forget_place(tenant_id)
            raise

    def give_back_place(self, tenant_id: str) -> None:
        """See `take_place`."""
        self._shares[tenant_id].release()
        self._room.release()
        self._forget_place(tenant_id)

    def _forget_place(self, tenant_id: str) -> None:
        self._taken[tenant_id] -= 1
        if not self._taken[tenant_id]:
            del self._taken[tenant_id], self._shares[tenant_id]

    def _full(self, *, is_share: bool) -> Throttled:
        limit = self._max_of_tenant if is_share else self._max_zygotes
        whose = "this tenant" if is_share else "this machine"
        return Throttled(
            f"{whose} has {limit} functions in memory of {limit} allowed, and none"
            " could make room. Nothing ran; send it again later",
            reason="ConcurrentInvocationLimitExceeded",
            limit=limit,
            retry_after_s=_RETRY_AFTER_S,
        )

    def _make_room(self, tenant_id: str, share: asyncio.Semaphore) -> None:
        """Rest a version, where somebody has to give way."""
        idle = [
            hosted
            for revision, hosted in self._hosted.items()
            if hosted.is_live and not hosted.is_busy and revision not in self._kept
        ]
        if share.locked():
            _rest_first(h for h in idle if h.function.tenant_id == tenant_id)
        elif self._room.locked() and idle:
            # Who has the most gives first, however busy it keeps what it has.
            most = max(self._taken[h.function.tenant_id] for h in idle)
            _rest_first(h for h in idle if self._taken[h.function.tenant_id] == most)


def _rest_first(hosted: Iterable[Hosted]) -> None:
    first = _first_to_go(hosted)
    if first is not None:
        first.rest()


def _first_to_go(hosted: Iterable[Hosted]) -> Hosted | None:
    """Who was left alone longest, by how long it takes to be back: an import of a
    second is kept ten times as long as one of a tenth."""
    now = time.monotonic()
    return max(
        hosted,
        key=lambda one: (now - one.last_used) / max(one.start_s, _LEAST_START_S),
        default=None,
    )


_LEAST_START_S = 0.05
"""No zygote is ready sooner."""
