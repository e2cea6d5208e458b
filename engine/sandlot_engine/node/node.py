"""Owns everything that runs tenants' code on this machine."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from sandlot_engine.errors import Throttled
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.node import machine
from sandlot_engine.node.hosted import GrantNetwork, Hosted, Printed, Unpack
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.pressure import short_mb
from sandlot_engine.node.second_looks import AT_ONCE
from sandlot_engine.node.unpaid_imports import (
    OF_TENANT_BACK,
    OF_TENANT_S,
    Allowance,
)
from sandlot_sandbox.host.crowd import Crowd

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

LOOK_S = 0.05
"""How often it is looked whether anybody can make room, while somebody waits."""

PATIENT_SHARE = 4
"""Of so many places that become free, one goes to an event, where such a one waits; the
others go to those whose callers wait."""

FAREWELL_S = 4.0
"""How long the engine's end waits for extensions, which have two seconds."""

_RETRY_AFTER_S = 5.0


FOR_EVENTS, FOR_EVENTS_OF_TENANT = 16, 8
"""Versions that are started at once because of events alone: when events of a thousand
functions come due, starts of all places at once would each take as long as all, and
who calls would find nobody who could make room."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A start that has no place yet."""

    hosted: Hosted
    turn: "asyncio.Future[None]"

    @property
    def tenant_id(self) -> str:
        return self.hosted.function.tenant_id


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
        self.learnt: Callable[[Function, Revision, str], object] = lambda *_: None
        """Told of a version that is served that its import may be cloned, which was
        not known, or why not: see `second_looks`."""

        self._launchers = launchers
        self._unpack = unpack
        self._grant_network = grant_network
        self._printed = printed
        self._region = region
        self._hosted: dict[str, Hosted] = {}
        self._crowds = WeakValueDictionary[tuple[str, str], Crowd]()
        """By tenant and function, as long as any revision is hosted."""

        self._unpaid: dict[str, Allowance] = {}
        """By tenant, and kept: who deletes its functions has no other."""

        self._away: frozenset[str] = frozenset()
        """Revisions that are not expected before a while."""

        self._kept: dict[str, str] = {}
        """Revisions that need not make room, and their tenants."""

        self._max_zygotes = max_zygotes
        self._room_s = room_s
        self._memory_mb = memory_mb
        """What all zygotes and instances may use; 0: as much as the machine has."""
        self._max_of_tenant = max(1, max_zygotes // SHARE)
        self._places: Counter[Hosted] = Counter()
        """Who has some, and how many: one for each zygote."""

        self._held: Counter[str] = Counter()
        """The same by tenant."""

        self._leaving: Counter[Hosted] = Counter()
        """Places that were made free, and are not yet: their zygotes are dying."""

        self._waiting: dict[_Waiter, None] = {}
        """In the order in which they came."""

        self._for_events: set[Hosted] = set()
        """Who is being started, and no caller waited for it when it was let in."""

        self._let_in = 0
        self._look: asyncio.TimerHandle | None = None

    @property
    def region(self) -> str:
        return self._region

    @property
    def zygotes(self) -> int:
        return sum(hosted.zygotes for hosted in self._hosted.values())

    @property
    def instances(self) -> int:
        return sum(hosted.instances for hosted in self._hosted.values())

    @property
    def used_mb(self) -> float:
        """How much memory zygotes and instances use, as far as anybody counts that."""
        return sum(hosted.used_mb for hosted in self._hosted.values())

    def short_mb(self) -> float:
        """How much memory has to be given back now."""
        total_mb, available_mb = machine.memory_mb()
        # Only where it is asked for: it is a look at every zygote.
        used_mb = self.used_mb if self._memory_mb else 0
        return short_mb(
            total_mb=total_mb,
            available_mb=available_mb,
            used_mb=used_mb,
            budget_mb=self._memory_mb,
        )

    def drop_kept(self) -> bool:
        """Give back what is kept of instances that ended, for those to come; and cells
        that wait for a crowd: whether there were any."""
        now = asyncio.get_running_loop().time()
        for crowd in list(self._crowds.values()):
            crowd.doubt(now)
        return sum(hosted.drop_kept() for hosted in self._hosted.values()) > 0

    def shed(self, short_mb: float) -> None:
        """Rest versions without instances, until that much memory is given back."""
        while short_mb > 0:
            hosted = self._first_to_go(
                hosted
                for revision, hosted in self._hosted.items()
                if hosted.is_live
                and not hosted.has_instances
                and not hosted.is_busy
                and revision not in self._kept
            )
            if hosted is None:
                return
            short_mb -= max(1.0, hosted.used_mb)
            hosted.rest()

    def note_away(self, revisions: frozenset[str]) -> None:
        """These are not expected before a while. They go first."""
        self._away = revisions

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
                crowd=self._crowd_of(function),
                unpaid=self._unpaid_of(function.tenant_id),
            )
        return hosted

    def _crowd_of(self, function: Function) -> Crowd:
        """New code has the callers of the old."""
        return self._crowds.setdefault((function.tenant_id, function.name), Crowd())

    def _unpaid_of(self, tenant_id: str) -> Allowance:
        unpaid = self._unpaid.get(tenant_id)
        if unpaid is None:
            unpaid = self._unpaid[tenant_id] = Allowance(OF_TENANT_S, OF_TENANT_BACK)
        return unpaid

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

    async def take_place(self, hosted: Hosted) -> None:
        """A place for one more zygote, to be given back when that is dead.

        Who has less gets the next one; but those whose callers wait come first, mostly.
        Raises `Throttled` where none becomes free.
        """
        waiter = _Waiter(hosted, asyncio.get_running_loop().create_future())
        self._waiting[waiter] = None
        self._share_out()
        try:
            async with asyncio.timeout(self._room_s):
                await waiter.turn
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give_back_place(hosted)
            if isinstance(error, TimeoutError):
                raise self._full(waiter.tenant_id) from None
            raise
        finally:
            self._waiting.pop(waiter, None)

    def give_back_place(self, hosted: Hosted) -> None:
        """See `take_place`."""
        for counts in (self._places, self._leaving):
            counts[hosted] -= 1
            if counts[hosted] <= 0:
                del counts[hosted]
        tenant_id = hosted.function.tenant_id
        self._held[tenant_id] -= 1
        if not self._held[tenant_id]:
            del self._held[tenant_id]
        self._share_out()

    def has_place(self, hosted: Hosted) -> bool:
        """Whether one is free that nobody waits for, for a look that can wait."""
        tenant_id = hosted.function.tenant_id
        return (
            not self._waiting
            and self._places.total() < self._max_zygotes
            and self._held[tenant_id] < self._max_of_tenant
            and self._may_start(tenant_id)
            and sum(each.is_looking_again for each in self._places) < AT_ONCE
        )

    def note_learnt(self, hosted: Hosted) -> None:
        """Its import has come to something else than was known."""
        self.learnt(hosted.function, hosted.revision, hosted.reason)

    def note_started(self, hosted: Hosted) -> None:
        """It has come up, or has failed."""
        if hosted in self._for_events:
            self._for_events.discard(hosted)
            self._share_out()

    def _share_out(self) -> None:
        """Let in whom there is a place for, and have others make room for the rest:
        now, or when they can."""
        while self._places.total() < self._max_zygotes:
            waiter = self._next_waiter()
            if waiter is None:
                break
            del self._waiting[waiter]
            self._places[waiter.hosted] += 1
            self._held[waiter.tenant_id] += 1
            self._let_in += 1
            if not waiter.hosted.is_awaited:
                self._for_events.add(waiter.hosted)
            waiter.turn.set_result(None)
        if self._waiting and self._look is None:
            self._make_room()
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        self._share_out()

    def _next_waiter(self) -> _Waiter | None:
        is_for_events = self._let_in % PATIENT_SHARE == PATIENT_SHARE - 1
        return min(
            (
                waiter
                for waiter in self._waiting
                if not waiter.turn.done()
                and self._held[waiter.tenant_id] < self._max_of_tenant
                and (waiter.hosted.is_awaited or self._may_start(waiter.tenant_id))
            ),
            key=lambda one: (
                one.hosted.is_awaited == is_for_events,
                self._held[one.tenant_id],
            ),
            default=None,
        )

    def _may_start(self, tenant_id: str) -> bool:
        """Whether one more may, for an event."""
        of_tenant = sum(
            hosted.function.tenant_id == tenant_id for hosted in self._for_events
        )
        return len(self._for_events) < FOR_EVENTS and of_tenant < FOR_EVENTS_OF_TENANT

    def _full(self, tenant_id: str) -> Throttled:
        is_share = self._held[tenant_id] >= self._max_of_tenant
        limit = self._max_of_tenant if is_share else self._max_zygotes
        whose = "this tenant" if is_share else "this machine"
        return Throttled(
            f"{whose} has {limit} functions in memory of {limit} allowed, and none"
            " could make room. Nothing ran; send it again later",
            reason="ConcurrentInvocationLimitExceeded",
            limit=limit,
            retry_after_s=_RETRY_AFTER_S,
        )

    def _make_room(self) -> None:
        """Rest versions that nobody needs now: one for each who waits, those that are
        resting already included."""
        idle = {
            hosted
            for hosted in self._places
            if hosted.may_rest and hosted.revision.id not in self._kept
        }
        waiting = Counter(waiter.tenant_id for waiter in self._could_start())
        leaving = Counter(hosted.function.tenant_id for hosted in self._leaving)
        missing = self._places.total() - self._max_zygotes
        for tenant_id, count in waiting.items():
            if self._held[tenant_id] < self._max_of_tenant:
                missing += count
                continue
            for _ in range(count - leaving[tenant_id]):
                own = [h for h in idle if h.function.tenant_id == tenant_id]
                if not self._rest_first(own, idle):
                    break
        for _ in range(missing - self._leaving.total()):
            # Who has the most gives first, however busy it keeps what it has.
            most = max((self._held[h.function.tenant_id] for h in idle), default=0)
            some = [h for h in idle if self._held[h.function.tenant_id] == most]
            if not self._rest_first(some, idle):
                break

    def _could_start(self) -> Iterator[_Waiter]:
        """If there were places; no more events' than may start now."""
        for_events = FOR_EVENTS - len(self._for_events)
        for waiter in self._waiting:
            if waiter.hosted.is_awaited:
                yield waiter
            elif for_events > 0:
                for_events -= 1
                yield waiter

    def _rest_first(self, hosted: Iterable[Hosted], idle: set[Hosted]) -> bool:
        first = self._first_to_go(hosted)
        if first is None:
            return False
        idle.discard(first)
        self._leaving[first] += 1
        first.rest()
        return True

    def _first_to_go(self, hosted: Iterable[Hosted]) -> Hosted | None:
        """Who is not expected before a while; then who was left alone longest, by how
        long it takes to be back: an import of a second is kept ten times as long as one
        of a tenth."""
        now = time.monotonic()

        def by_need(one: Hosted) -> tuple[bool, float]:
            alone_s = now - one.last_used
            is_away = one.revision.id in self._away
            return is_away, alone_s / max(one.start_s, _LEAST_START_S)

        return max(hosted, key=by_need, default=None)


_LEAST_START_S = 0.05
"""No zygote is ready sooner."""
