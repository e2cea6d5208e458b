"""The head of a streamed answer, however it is cut into pieces."""

import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.gateway.urls import sending
from sandlot_engine.gateway.urls.answers import Malformed, Response
from sandlot_engine.gateway.urls.sending import Cut, Streaming
from sandlot_engine.gateway.urls.streams import (
    INTEGRATION,
    MAX_PRELUDE,
    Prelude,
    head_without_prelude,
)
from sandlot_engine.invocation.streamed import Streamed

HEAD = {
    "statusCode": 201,
    "headers": {"content-type": "text/plain"},
    "cookies": ["a=1"],
}
EXPECTED = Response(201, [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1")])


def streamed(
    pieces: Sequence[bytes], content_type: str = INTEGRATION, *, breaks: bool = False
) -> Streamed:
    async def each() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if breaks:
            raise OSError("it broke")

    return Streamed(content_type=content_type, pieces=each())


def cut(data: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.binary(max_size=40), st.sets(st.integers(1, 120), max_size=12))
async def test_head_and_body_are_told_apart_however_they_come(
    body: bytes, places: set[int]
) -> None:
    sent = cut(json.dumps(HEAD).encode() + bytes(8) + body, places)
    streaming = Streaming(streamed(sent))

    head = await streaming.head()
    came = [piece async for piece in streaming.body()]

    assert head == EXPECTED
    assert b"".join(came) == body
    assert b"" not in came


async def test_without_a_prelude_all_is_body() -> None:
    streaming = Streaming(streamed([b"a", b"", b"b"], "text/plain"))

    head = await streaming.head()

    assert head == Response(200, [(b"content-type", b"text/plain")])
    assert [piece async for piece in streaming.body()] == [b"a", b"b"]


def test_a_body_of_no_type_is_bytes() -> None:
    assert head_without_prelude("").content_type == b"application/octet-stream"
    assert Prelude().take(b"{}" + bytes(8)) == (head_without_prelude(""), b"")


@pytest.mark.parametrize(
    "sent", [b"", b"{}", b"{}" + bytes(7), b"[]" + bytes(8), b"{" + bytes(8), bytes(8)]
)
async def test_a_stream_without_a_head_is_malformed(sent: bytes) -> None:
    with pytest.raises(Malformed):
        await Streaming(streamed([sent])).head()


def test_a_head_has_a_limit() -> None:
    prelude = Prelude()

    assert prelude.take(b"x" * MAX_PRELUDE) is None
    with pytest.raises(Malformed, match="more than"):
        prelude.take(b"x")


async def test_a_stream_that_breaks_is_cut() -> None:
    streaming = Streaming(streamed([b"{}" + bytes(8) + b"a"], breaks=True))
    await streaming.head()
    body = streaming.body()

    assert await anext(body) == b"a"
    with pytest.raises(Cut):
        await anext(body)


async def test_a_stream_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_STREAM", 3)
    streaming = Streaming(streamed([b"abc", b"d"], "a/b"))
    await streaming.head()

    with pytest.raises(Cut):
        _ = [piece async for piece in streaming.body()]
