"""A request on its way in: who sends it, and its body, within bounds.

The key's id, the form of the signature and its date are checked before the body is
read, so that a stranger cannot make the engine take anything in. Whoever knows a key's
id can, until the signature is found to be wrong: that is what `BodyRoom` bounds.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Throttled
from sandlot_engine.gateway.auth import suspended
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.sigv4.claim import Claim, unrecognized
from sandlot_engine.gateway.aws.sigv4.reading import SERVICE, read_claim
from sandlot_engine.gateway.connections import KEY
from sandlot_engine.gateway.ports import SigningKeys
from sandlot_engine.gateway.turns import Breaks, Lists, T
from sandlot_engine.model.tenant import AccessKey, Caller

MAX_REQUEST = 70_167_211
"""Bytes of any request's body (AWS: a CreateFunction with a zip of 50 MB in it). More
than this is not read on, not even to see who sent it."""

MAX_BODIES = 256 * 1024 * 1024
"""Bytes of bodies that are half here, of all requests."""

MAX_BODIES_OF_TENANT = MAX_BODIES // 2
"""The same of one tenant, so that nobody uses up the room of all: whoever has a key
can make a hundred."""

RETRY_AFTER_S = 1.0

LITTLE = 4_096
"""Bytes of a body that is read and checked whenever it comes: at most a millisecond."""

BREAK = 9
"""How many times as long as the last larger one took a tenant's next one waits: so that
all that a tenant has us read takes a tenth of our time."""

BREAKS_OF_ALL = 5
"""Tenants that have a break, at most, before the next waits: half of our time."""

MAX_WAITING, WAIT_S = 128, 10.0
"""Of one tenant, and how long."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The connection ended before the request did: nobody waits for an answer."""


@dataclass(slots=True)
class Body:
    """What was sent."""

    data: bytes | None = field(repr=False)
    """None where it was over the limit: then it was read, and not kept."""

    size: int
    sha256: bytes
    """In hex."""


@dataclass(slots=True)
class Received:
    """A whole request whose signature was checked."""

    caller: Caller
    region: str
    body: Body


class BodyRoom:
    """How much of unfinished bodies is in memory, and of whom."""

    def __init__(
        self,
        *,
        most: int,
        of_one: int,
        whose: str = "tenant",
        slow_s: float | None = None,
        retry_after_s: float = RETRY_AFTER_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`of_one` is what there is for one tenant, or whatever `whose` says.

        Whoever has been sending for `slow_s` gives way where there is no room: for
        strangers, of whom a few who send on and on would keep all others out.
        """
        self.used = 0
        self.refused = 0
        """How many requests found no room."""
        self._by_owner: Counter[str] = Counter()
        self._most, self._of_one, self._whose = most, of_one, whose
        self._slow_s, self._retry_after_s, self._now = slow_s, retry_after_s, now
        self._sending: dict[Held, None] = {}
        """The longest first."""

    def __repr__(self) -> str:
        return f"<BodyRoom {self.used} of {self._most} bytes, {self.refused} refused>"

    @contextmanager
    def holding(self, owner: str) -> Iterator["Held"]:
        """What is held goes back at the end of the block, however it ends."""
        held = Held(self, owner, self._now())
        self._sending[held] = None
        try:
            yield held
        finally:
            del self._sending[held]
            held.give_back()

    def take(self, owner: str, size: int) -> None:
        """Raise `Throttled` where there is no room for so much."""
        self._cut_slow(owner, size)
        for used, limit, whose in (
            (self._by_owner[owner], self._of_one, f"{self._whose} {owner}"),
            (self.used, self._most, "all callers"),
        ):
            if used + size > limit:
                self.refused += 1
                raise self._throttled(
                    f"requests of {whose} that are being read have {used} bytes of "
                    f"{limit} allowed"
                )
        self.used += size
        self._by_owner[owner] += size

    def give_back(self, owner: str, size: int) -> None:
        self.used -= size
        self._by_owner[owner] -= size
        if not self._by_owner[owner]:
            del self._by_owner[owner]

    def was_slow(self) -> Throttled:
        """For who gave way."""
        self.refused += 1
        return self._throttled(
            f"it was not here after {self._slow_s:g} s, and others came"
        )

    def _cut_slow(self, owner: str, size: int) -> None:
        if self._slow_s is None:
            return
        for held in list(self._sending) if self._lacks(owner, size) else ():
            is_slow = self._now() - held.since >= self._slow_s
            if not is_slow or not (lacking := self._lacks(owner, size)):
                return
            if held.size and lacking in ("all", held.owner):
                held.cut()

    def _lacks(self, owner: str, size: int) -> str:
        """Whose room is too small: of `all`, of the owner, or of nobody."""
        if self.used + size > self._most:
            return "all"
        return owner if self._by_owner[owner] + size > self._of_one else ""

    def _throttled(self, message: str) -> Throttled:
        return Throttled(
            message,
            reason="CallerRateLimitExceeded",
            limit=self._of_one,
            retry_after_s=self._retry_after_s,
        )


class Held:
    """One request's share of the room."""

    def __init__(self, room: BodyRoom, owner: str, since: float) -> None:
        self._room, self.owner, self.since, self.size = room, owner, since, 0
        self.until_cut = asyncio.timeout(None)

    def take(self, size: int) -> None:
        """Raises `Throttled`."""
        self._room.take(self.owner, size)
        self.size += size

    def give_back(self) -> None:
        self._room.give_back(self.owner, self.size)
        self.size = 0

    def cut(self) -> None:
        """End its reading, in the block of `until_cut`."""
        self.give_back()
        self.until_cut.reschedule(asyncio.get_running_loop().time())


class Receiver:
    """Takes requests in."""

    def __init__(self, tenants: SigningKeys, clock: Clock) -> None:
        self._tenants = tenants
        self._clock = clock
        self.room = BodyRoom(most=MAX_BODIES, of_one=MAX_BODIES_OF_TENANT)
        self._breaks = Breaks(
            "requests that are large",
            times=BREAK,
            of_all=BREAKS_OF_ALL,
            waiting=MAX_WAITING,
            wait_s=WAIT_S,
        )
        self._lists = Lists()

    async def answering(
        self,
        caller: Caller,
        operation: str,
        perform: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        """What an operation of that name answers: a tenant's lists one after another,
        and with breaks.

        Raises what `reading` does.
        """
        if not operation.startswith("List"):
            return await perform()

        async def listed() -> T:
            await self.good_key(caller.access_key_id)
            return await perform()

        return await self._lists.take(caller.tenant_id, listed)

    @asynccontextmanager
    async def reading(self, caller: Caller, size: int) -> AsyncIterator[None]:
        """For as long as a body of that size is parsed and checked, in which nobody
        else has a turn: a tenant's large ones one after another, and with breaks.

        Raises `Throttled`; and `AwsError`, as `receive` does, where the key was taken
        back before the turn came.
        """
        if size <= LITTLE:
            yield
            return
        async with self._breaks.take(caller.tenant_id) as work:
            await self.good_key(caller.access_key_id)
            with work:
                yield

    async def receive(
        self,
        scope: Scope,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        *,
        limit: int,
        too_large: Callable[[int], AwsError],
        service: str = SERVICE,
    ) -> Received:
        """The caller and the body of a request with these headers, folded, that is
        signed for that service.

        A body over `limit` is not kept but all the same read to its end: only then it
        is known who sent it. Over `MAX_REQUEST` that ends with `too_large(size)`.

        Raises `AwsError` for what is wrong with the signature, `Throttled` where there
        is no room, `ClientGone`.
        """
        claim = read_claim(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            headers,
            now=self._clock.now(),
            is_private=_is_private(scope),
            service=service,
        )
        key, secret = await self._tenants.signing_secret(claim.access_key_id)
        if key is None:
            # The same work as for a wrong secret.
            with suppress(AwsError):
                claim.check(secret, body_sha256=claim.body_sha256)
            raise unrecognized()
        if claim.body_sha256:
            claim.check(secret, body_sha256=claim.body_sha256)
        body = await read_body(
            receive, headers, self.room, key.tenant_id, limit=limit, too_large=too_large
        )
        _check_body(claim, secret, body)
        # Again: a body may take minutes, and the key may be taken back meanwhile.
        key = await self.good_key(claim.access_key_id)
        if (connection := scope.get(KEY)) is not None:
            connection.owner = key.tenant_id
        return Received(
            caller=Caller(
                tenant_id=key.tenant_id,
                access_key_id=key.id,
                is_operator=key.is_operator,
            ),
            region=claim.region,
            body=body,
        )

    async def good_key(self, access_key_id: str) -> AccessKey:
        """For who has been in already, and waited since. Raises `AwsError`."""
        key, _ = await self._tenants.signing_secret(access_key_id)
        if key is None:
            raise unrecognized()
        if key.is_suspended:
            raise AwsError("AccessDeniedException", suspended(key.tenant_id))
        return key


async def read_body(
    receive: Receive,
    headers: Mapping[bytes, bytes],
    room: BodyRoom,
    owner: str,
    *,
    limit: int,
    too_large: Callable[[int], Exception],
    most: int = MAX_REQUEST,
) -> Body:
    """A body over `limit` is not kept but all the same read to its end, or until it is
    over `most`, which raises `too_large(size)`.

    Raises `Throttled` where there is no room for `owner`, `ClientGone`.
    """
    declared_size = _declared_size(headers)
    if declared_size > most:
        raise too_large(declared_size)
    data, is_all = await _next(receive)
    if is_all and len(data) <= limit:
        # Nearly always: what was read with the head needs no room of its own.
        return Body(data, len(data), hashlib.sha256(data).hexdigest().encode())
    with room.holding(owner) as held:
        try:
            async with held.until_cut:
                return await _read_on(
                    receive, data, is_all, held, limit, too_large, most
                )
        except TimeoutError:
            if held.until_cut.expired():
                raise room.was_slow() from None
            raise


async def _read_on(
    receive: Receive,
    data: bytes,
    is_all: bool,
    held: Held,
    limit: int,
    too_large: Callable[[int], Exception],
    most: int,
) -> Body:
    digest, size = hashlib.sha256(), 0
    kept = BytesIO()  # not a list: to join 70 MB holds up everybody
    while True:
        size += len(data)
        digest.update(data)
        if size > most:
            raise too_large(size)
        if size > limit:
            kept = BytesIO()
            held.give_back()
        else:
            held.take(len(data))
            kept.write(data)
        if is_all:
            whole = kept.getvalue() if size <= limit else None
            return Body(whole, size, digest.hexdigest().encode())
        data, is_all = await _next(receive)


async def _next(receive: Receive) -> tuple[bytes, bool]:
    """Some more of the body, and whether it was the last."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    return message.get("body", b""), not message.get("more_body", False)


def _check_body(claim: Claim, secret: str, body: Body) -> None:
    if claim.body_sha256:
        claim.check_body(body.sha256)
    else:
        claim.check(secret, body_sha256=body.sha256)


def _declared_size(headers: Mapping[bytes, bytes]) -> int:
    """0 where none is, and for what is no number: the server has refused that."""
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) < 20 else 0


def _is_private(scope: Scope) -> bool:
    """Whether nobody between the client and us can have changed the body."""
    return scope.get("scheme") == "https" or is_of_this_machine(scope)


def is_of_this_machine(scope: Scope) -> bool:
    """Whether the connection is from loopback."""
    host = str((scope.get("client") or ("",))[0])
    return host.startswith("127.") or host == "::1"
