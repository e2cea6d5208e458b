"""Shares of what callers use up before anybody looks at what they sent.

Who they are is known by then, and nothing else.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from sandlot_engine.errors import Throttled

RETRY_AFTER_S = 1.0

LIST_BREAK, LIST_BREAKS_OF_ALL = 9, 5
"""How many times as long as its last list took a tenant's next one waits, and how many
tenants have such a break at once: all lists together take half of our time."""

MAX_LISTS_WAITING, LIST_WAIT_S = 4_000, 10.0
"""Of one tenant, and how long: as many as it may have calls open over gRPC."""

T = TypeVar("T")


class Turns:
    """`most` at once, `of_tenant` of them one tenant's. Who comes later waits in its
    tenant's own line, for `wait_s` at most; `waiting` may wait there."""

    def __init__(
        self, what: str, *, most: int, of_tenant: int, waiting: int, wait_s: float
    ) -> None:
        self._what = what
        self._of_tenant = of_tenant
        self._waiting = waiting
        self._wait_s = wait_s
        self._room = asyncio.Semaphore(most)
        self._shares: dict[str, tuple[asyncio.Semaphore, int]] = {}
        """With those who have a turn, or wait for one."""

    @property
    def is_full(self) -> bool:
        """Whoever comes has to wait for others than itself."""
        return self._room.locked()

    def take(self, tenant_id: str) -> "Turn":
        """A turn, as long as the block lasts (`async with`). Raises `Throttled`."""
        return Turn(self, tenant_id)

    async def begin(self, tenant_id: str) -> asyncio.Semaphore:
        """The share that a turn has been taken of now; `end` gives it back."""
        share, users = self._shares.get(tenant_id) or (
            asyncio.Semaphore(self._of_tenant),
            0,
        )
        if users >= self._of_tenant + self._waiting:
            raise self._refused(f"{users} wait or run already")
        self._shares[tenant_id] = share, users + 1
        try:
            await self._wait_turn(share)
        except BaseException:
            self._leave(tenant_id, share)
            raise
        return share

    def end(self, tenant_id: str, share: asyncio.Semaphore) -> None:
        self._room.release()
        share.release()
        self._leave(tenant_id, share)

    def _leave(self, tenant_id: str, share: asyncio.Semaphore) -> None:
        users = self._shares[tenant_id][1] - 1
        if users:
            self._shares[tenant_id] = share, users
        else:
            del self._shares[tenant_id]

    async def _wait_turn(self, share: asyncio.Semaphore) -> None:
        """Both; the tenant's own first, so that its line is not everybody's."""
        if not share.locked() and not self._room.locked():
            # Nearly always: nobody waits, and no timer is needed.
            await share.acquire()
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await share.acquire()
                try:
                    await self._room.acquire()
                except BaseException:
                    share.release()
                    raise
        except TimeoutError:
            raise self._refused(f"none became free within {self._wait_s:g} s") from None

    def _refused(self, why: str) -> Throttled:
        return Throttled(
            f"{self._what}: {self._of_tenant} of one tenant are taken in at once, and"
            f" {why}. Nothing was done; send it again later, or fewer at once",
            reason="TooManyRequests",
            limit=self._of_tenant,
            retry_after_s=RETRY_AFTER_S,
        )


class Breaks:
    """Turns for what nobody else has a turn meanwhile: after each, its tenant has a
    break of `times` as long as it took the loop's thread, `of_all` tenants at once."""

    def __init__(
        self, what: str, *, times: int, of_all: int, waiting: int, wait_s: float
    ) -> None:
        self._times = times
        self._turns = Turns(
            what, most=of_all, of_tenant=1, waiting=waiting, wait_s=wait_s
        )

    @asynccontextmanager
    async def take(self, tenant_id: str) -> AsyncIterator["Work"]:
        """A turn, and what to do it in. Raises `Throttled`."""
        share = await self._turns.begin(tenant_id)
        work = Work()
        try:
            yield work
        finally:
            # Nobody waits for its end here: who hangs up would have none.
            loop = asyncio.get_running_loop()
            pause_s = self._times * work.took_s
            loop.call_later(pause_s, self._turns.end, tenant_id, share)


class Work:
    """A block (`with`) that must not wait: others would have their time counted."""

    took_s = 0.0
    """Of the loop's thread."""

    def __enter__(self) -> None:
        self._began = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.took_s += time.thread_time() - self._began

    async def of(self, work: Coroutine[Any, Any, T]) -> T:
        """The same for what may wait: what others do meanwhile is not counted."""
        done: T = await _Counted(self, work)
        return done


class _Counted:
    """A coroutine whose steps are some work's."""

    def __init__(self, counted: Work, work: Coroutine[Any, Any, T]) -> None:
        self._counted, self._work = counted, work

    def __await__(self) -> Generator[Any, Any, Any]:
        step = partial(self._work.send, None)
        while True:
            try:
                with self._counted:
                    waits_for = step()
            except StopIteration as done:
                return done.value
            try:
                given = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                step = partial(self._work.throw, error)
            else:
                step = partial(self._work.send, given)


class Lists:
    """Lists, whose pages take milliseconds and more of the loop, and are asked for with
    a few bytes: a tenant's one after another, and with breaks."""

    def __init__(self) -> None:
        self._breaks = Breaks(
            "lists",
            times=LIST_BREAK,
            of_all=LIST_BREAKS_OF_ALL,
            waiting=MAX_LISTS_WAITING,
            wait_s=LIST_WAIT_S,
        )

    async def take(
        self, tenant_id: str, make: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """One, when its turn has come. Raises `Throttled`."""
        async with self._breaks.take(tenant_id) as work:
            return await work.of(make())


class StrangersTurns:
    """`most` at once. Strangers have one line together, in which a few who never send
    would keep all others waiting: so where there is no room, who has been at it for
    longest gives way to who comes."""

    def __init__(self, what: str, *, most: int) -> None:
        self._what = what
        self._most = most
        self._taken: dict[asyncio.Timeout, None] = {}
        """The longest first."""

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """A turn, as long as the block lasts, which ends with `Throttled` where it has
        to give way."""
        if len(self._taken) >= self._most:
            longest = next(iter(self._taken))
            del self._taken[longest]
            longest.reschedule(asyncio.get_running_loop().time())
        until_cut = asyncio.timeout(None)
        try:
            async with until_cut:
                self._taken[until_cut] = None
                yield
        except TimeoutError:
            if until_cut.expired():
                raise self._gave_way() from None
            raise
        finally:
            self._taken.pop(until_cut, None)

    def _gave_way(self) -> Throttled:
        return Throttled(
            f"{self._what}: {self._most} of callers without a key are taken in at once,"
            " and this one was not here when others came",
            reason="TooManyRequests",
            limit=self._most,
            retry_after_s=RETRY_AFTER_S,
        )


class Held:
    """Bytes of requests that are being answered: `most`, `of_tenant` of one tenant. A
    sixteenth of that a tenant has whatever others have."""

    def __init__(self, *, most: int, of_tenant: int) -> None:
        self._most = most
        self._of_tenant = of_tenant
        self._share = of_tenant // 16
        self._total = 0
        self._of: Counter[str] = Counter()

    def hold(self, tenant_id: str, size: int) -> "Holding":
        """Count them as long as the block lasts (`with`). Raises `Throttled`."""
        return Holding(self, tenant_id, size)

    def take(self, tenant_id: str, size: int) -> None:
        """Raises `Throttled`."""
        mine = self._of.get(tenant_id, 0)
        if mine + size > self._of_tenant or (
            mine + size > self._share and self._total + size > self._most
        ):
            raise Throttled(
                f"a request of {size} bytes: {mine} bytes of this tenant's are being"
                f" answered of {self._of_tenant} allowed, and"
                f" those of all tenants are at most {self._most}. Send fewer at once",
                reason="TooManyRequests",
                limit=self._of_tenant,
                retry_after_s=RETRY_AFTER_S,
            )
        self._of[tenant_id] = mine + size
        self._total += size

    def give_back(self, tenant_id: str, size: int) -> None:
        self._total -= size
        left = self._of[tenant_id] = self._of[tenant_id] - size
        if not left:
            del self._of[tenant_id]


# Blocks, as classes: every call goes through one of each, and one that a generator is
# made into takes three times as long.


class Turn:
    """See `Turns.take`."""

    __slots__ = ("_share", "_tenant_id", "_turns")

    def __init__(self, turns: Turns, tenant_id: str) -> None:
        self._turns, self._tenant_id = turns, tenant_id

    async def __aenter__(self) -> None:
        self._share = await self._turns.begin(self._tenant_id)

    async def __aexit__(self, *_: object) -> None:
        self._turns.end(self._tenant_id, self._share)


class Holding:
    """See `Held.hold`."""

    __slots__ = ("_held", "_size", "_tenant_id")

    def __init__(self, held: Held, tenant_id: str, size: int) -> None:
        self._held, self._tenant_id, self._size = held, tenant_id, size

    def __enter__(self) -> None:
        self._held.take(self._tenant_id, self._size)

    def __exit__(self, *_: object) -> None:
        self._held.give_back(self._tenant_id, self._size)
