"""Bodies on their way in: what is kept of them, and how much of all at once."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Throttled
from sandlot_engine.gateway.aws import receiving
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.receiving import (
    LITTLE,
    MAX_BODIES,
    MAX_BODIES_OF_TENANT,
    Body,
    BodyRoom,
    ClientGone,
    Receive,
    Receiver,
    _read_on,
    read_body,
)
from sandlot_engine.gateway.ports import SigningKeys
from sandlot_engine.model.tenant import AccessKey, Caller
from tests.fakes.things import key
from tests.fakes.waiting import DEADLINE_S


def too_large(size: int) -> AwsError:
    return AwsError("RequestEntityTooLargeException", str(size))


def pieces(*data: bytes, ends: bool = True) -> Receive:
    """An ASGI client that sends these, and then hangs up if it does not end there."""

    def messages() -> Iterator[dict[str, Any]]:
        for number, piece in enumerate(data, start=1):
            is_last = ends and number == len(data)
            yield {"type": "http.request", "body": piece, "more_body": not is_last}
        yield {"type": "http.disconnect"}

    left = messages()

    async def receive() -> dict[str, Any]:
        return next(left)

    return receive


async def read(
    room: BodyRoom, receive: Receive, *, limit: int, owner: str = "t"
) -> Body:
    with room.holding(owner) as held:
        return await _read_on(
            receive, b"", False, held, limit, too_large, receiving.MAX_REQUEST
        )


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.integers(0, 120))
async def test_a_body_is_whole_or_not_kept(data: list[bytes], limit: int) -> None:
    room, whole = BodyRoom(most=MAX_BODIES, of_one=MAX_BODIES_OF_TENANT), b"".join(data)

    body = await read(room, pieces(*data), limit=limit)

    assert body.data == (whole if len(whole) <= limit else None)
    assert body.size == len(whole)
    assert body.sha256 == hashlib.sha256(whole).hexdigest().encode()
    assert room.used == 0


async def test_what_is_over_the_limit_is_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, held = BodyRoom(most=MAX_BODIES, of_one=MAX_BODIES_OF_TENANT), []
    receive = pieces(b"x" * 10, b"x" * 10, b"x" * 10, b"")

    async def watched() -> Any:
        held.append(room.used)
        return await receive()

    await read(room, watched, limit=20)

    assert held == [0, 10, 20, 0]


async def test_what_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_REQUEST", 30)
    room = BodyRoom(most=MAX_BODIES, of_one=MAX_BODIES_OF_TENANT)

    with pytest.raises(AwsError, match="40"):
        await read(room, pieces(*[b"x" * 10] * 9), limit=20)
    assert room.used == 0


async def test_a_client_that_hangs_up_gives_its_room_back() -> None:
    room = BodyRoom(most=MAX_BODIES, of_one=MAX_BODIES_OF_TENANT)

    with pytest.raises(ClientGone):
        await read(room, pieces(b"x" * 10, ends=False), limit=20)
    assert room.used == 0


@pytest.mark.parametrize(
    ("owner_of", "most"),
    [
        (lambda _: "one", MAX_BODIES_OF_TENANT),
        (lambda number: f"tenant-{number}", MAX_BODIES),
    ],
)
def test_the_room_is_bounded_for_each_tenant_and_for_all(
    owner_of: Callable[[int], str], most: int
) -> None:
    room, piece = (
        BodyRoom(most=MAX_BODIES, of_one=MAX_BODIES_OF_TENANT),
        16 * 1024 * 1024,
    )
    for number in range(most // piece):
        room.take(owner_of(number), piece)

    with pytest.raises(
        Throttled, match=rf"have {most} bytes of {most} allowed"
    ) as full:
        room.take(owner_of(0), 1)

    assert full.value.reason == "CallerRateLimitExceeded"
    assert (room.used, room.refused) == (most, 1)
    room.give_back(owner_of(0), piece)
    room.take(owner_of(0), 1)


async def waiting(room: BodyRoom, owner: str, *data: bytes) -> Body:
    """A body of which this comes, and no more."""
    left = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in data
    ]

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return await read_body(receive, {}, room, owner, limit=1_000, too_large=too_large)


async def has(room: BodyRoom, used: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while room.used != used:  # noqa: ASYNC110 - what is awaited tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize(("other", "most"), [("a", 1_000), ("b", 100)])
async def test_who_is_slow_gives_way_to_who_comes(other: str, most: int) -> None:
    now = [0.0]
    room = BodyRoom(most=most, of_one=100, slow_s=5.0, now=lambda: now[0])
    slow = asyncio.create_task(waiting(room, "a", b"x" * 60))
    await has(room, 60)
    now[0] = 4.9
    quick = asyncio.create_task(waiting(room, other, b"x" * 30))
    await has(room, 90)
    with pytest.raises(Throttled, match="have 90 bytes of 100 allowed"):
        await waiting(room, other, b"x" * 30)

    now[0] = 5.0
    last = asyncio.create_task(waiting(room, other, b"x" * 30))

    with pytest.raises(Throttled, match="not here after 5 s, and others came"):
        await slow
    await has(room, 60)
    assert not quick.done()
    for task in (quick, last):
        task.cancel()
    await asyncio.wait({quick, last})
    assert room.used == 0


async def test_who_is_slow_gives_way_to_its_own_where_others_have_room() -> None:
    room = BodyRoom(most=1_000, of_one=100, slow_s=0.0, now=lambda: 0.0)
    others = asyncio.create_task(waiting(room, "a", b"x" * 60))
    await has(room, 60)
    own = asyncio.create_task(waiting(room, "b", b"x" * 60))
    await has(room, 120)

    last = asyncio.create_task(waiting(room, "b", b"x" * 60))

    with pytest.raises(Throttled, match="others came"):
        await own
    assert not others.done()
    for task in (others, last):
        task.cancel()
    await asyncio.wait({others, last})


class Keys:
    """One key, as it is just now."""

    def __init__(self) -> None:
        self.key: AccessKey | None = key("AKIA1", tenant_id="1")

    async def signing_secret(self, _: str) -> tuple[AccessKey | None, str]:
        return self.key, "secret"


@pytest.mark.parametrize(
    ("then", "code"),
    [
        (None, "UnrecognizedClientException"),
        (replace(key("AKIA1"), is_suspended=True), "AccessDeniedException"),
    ],
)
async def test_a_key_that_is_taken_back_while_its_request_waits_is_none(
    then: AccessKey | None, code: str
) -> None:
    keys, read = Keys(), list[int]()
    receiver = Receiver(cast(SigningKeys, keys), cast(Clock, None))
    caller = Caller(tenant_id="1", access_key_id="AKIA1", is_operator=False)

    async def take(number: int) -> None:
        async with receiver.reading(caller, LITTLE + 1):
            read.append(number)

    async with receiver.reading(caller, LITTLE + 1):
        waiting = asyncio.create_task(take(1))
        await asyncio.sleep(0)
        keys.key = then

    with pytest.raises(AwsError) as refusal:
        await waiting
    assert refusal.value.code == code
    assert read == []


@pytest.mark.parametrize(
    ("then", "code"),
    [
        (None, "UnrecognizedClientException"),
        (replace(key("AKIA1"), is_suspended=True), "AccessDeniedException"),
    ],
)
async def test_a_key_that_is_taken_back_while_its_list_waits_is_none(
    then: AccessKey | None, code: str
) -> None:
    keys, listed = Keys(), list[int]()
    receiver = Receiver(cast(SigningKeys, keys), cast(Clock, None))
    caller = Caller(tenant_id="1", access_key_id="AKIA1", is_operator=False)
    may_go = asyncio.Event()

    async def show(number: int) -> None:
        await may_go.wait()
        listed.append(number)

    first, waiting = (
        asyncio.create_task(
            receiver.answering(caller, "ListFunctions", partial(show, number))
        )
        for number in (1, 2)
    )
    await asyncio.sleep(0)
    keys.key = then
    may_go.set()

    await first
    with pytest.raises(AwsError) as refusal:
        await waiting
    assert refusal.value.code == code
    assert listed == [1]
