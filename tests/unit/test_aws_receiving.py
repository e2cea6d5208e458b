"""Bodies on their way in: what is kept of them, and how much of all at once."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.errors import Throttled
from sandlot_engine.gateway.aws import receiving
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.receiving import (
    MAX_BODIES,
    MAX_BODIES_OF_TENANT,
    Body,
    BodyRoom,
    ClientGone,
    Receive,
    _read_on,
)


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
