"""What function URLs hold, wait for, stream and say twice; the functions are fakes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sandlot_engine.errors import Throttled
from sandlot_engine.gateway import connections, untaken
from sandlot_engine.gateway.urls import app
from sandlot_engine.gateway.urls.streams import INTEGRATION
from sandlot_engine.invocation.streamed import Streamed
from sandlot_engine.model.invocation import MAX_PAYLOAD, Invocation
from sandlot_engine.model.url import InvokeMode
from tests.integration.http_port import Port, answer_from, serving, until
from tests.integration.sites import CORS, ORIGIN, Site, noting_losses, site_of


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One that anybody may call, of a function that answers its event."""
    async with serving() as port, site_of(port) as made:
        yield made


# --- bounds -------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_unread(site: Site) -> None:
    declared = site.request("POST", content_length=str(MAX_PAYLOAD + 1))
    chunks = site.request("POST", transfer_encoding="chunked")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    by_length = await site.port.exchange(declared)
    by_reading = await site.port.exchange(chunks + chunk * (MAX_PAYLOAD // 0x10000 + 1))
    as_event = await site.get("POST", "/", b"x" * (MAX_PAYLOAD - 100))

    assert [answer[0] for answer in (by_length, by_reading, as_event)] == [413] * 3
    assert site.runner.started.empty()


async def test_a_body_of_megabytes_arrives(site: Site) -> None:
    body = b"x" * 4_000_000

    status, _, answer = await site.get("POST", "/", body, content_type="text/plain")

    assert status == 200
    assert json.loads(answer)["body"] == body.decode()


async def test_a_body_that_does_not_come_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "BODY_S", 0.05)

    status, headers, _ = await site.port.exchange(
        site.request("POST", content_length="5")
    )

    assert (status, headers["x-amzn-errortype"]) == (408, "DeadlineExceededException")


async def test_bodies_of_strangers_have_a_room_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "MAX_BODIES_OF_TENANT", 100_000)
    async with serving() as port, site_of(port) as site:
        refused = await site.get("POST", "/", b"x" * 200_000)
        by_aws = await port.exchange(port.signed(body=b"1" * 200_000))

    assert refused[0] == 429
    assert by_aws[0] == 200


async def test_an_answer_that_nobody_takes_is_dropped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = noting_losses(monkeypatch)
    monkeypatch.setattr(connections, "ANSWER_DEADLINE_S", 0.05)
    # Two of them are more than the kernel takes for us.
    site.answers("x" * 6_000_000)

    async with site.port.connected() as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(site.request() * 2)
        async with asyncio.timeout(20):
            await lost.wait()


async def test_answers_that_nobody_takes_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = noting_losses(monkeypatch)
    monkeypatch.setattr(untaken, "MAX_UNTAKEN_OF_TENANT", 1_000_000)
    async with serving() as port, site_of(port) as site:
        site.answers("x" * 6_000_000)
        async with site.port.connected() as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(site.request() * 2)
            async with asyncio.timeout(20):
                await lost.wait()

        site.answers("x")
        assert (await site.get())[0] == 200


async def test_requests_are_counted_by_how_they_were_answered(site: Site) -> None:
    await site.get()
    await site.get(prefix="/url/none")

    text = site.port.engine.invoker.metrics.text().decode()

    assert 'sandlot_url_requests_total{status="2xx"} 1.0' in text
    assert 'sandlot_url_requests_total{status="4xx"} 1.0' in text


# --- idempotency --------------------------------------------------------------------


async def test_a_repeat_gets_the_first_response(site: Site) -> None:
    first = await site.get("POST", "/", b"1", idempotency_key='"k"')
    repeat = await site.get("POST", "/", b"1", idempotency_key="k")
    other = await site.get("POST", "/", b"1", idempotency_key="k2")

    assert repeat[2] == first[2]
    assert repeat[1]["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first[1]
    assert other[2] != first[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"body": b"2"},
        {"path": "/other"},
        {"path": "/?a=1"},
        {"method": "PUT"},
        {"authorization": "Bearer somebody-else"},
        {"cookie": "session=somebody-else"},
        {"x_api_key": "somebody-else's"},
        {"x_forwarded_user": "somebody-else"},
        {"x_auth_token": "somebody-else's"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_key_is_of_one_request_of_one_sender(
    site: Site, changed: dict[str, Any]
) -> None:
    asked = {"method": "POST", "path": "/", "body": b"1", "idempotency_key": "k"}
    await site.get(**asked, cookie="session=mine")

    status, headers, body = await site.get(
        **({**asked, "cookie": "session=mine"} | changed)
    )

    assert status == 422
    assert headers["x-amzn-errortype"] == "IdempotentParameterMismatchException"
    assert b"used for another" in body


async def test_a_repeat_may_come_by_another_way(site: Site) -> None:
    asked: dict[str, Any] = {"idempotency_key": "k", "x_api_key": "mine"}
    await site.get("POST", "/", b"1", **asked, user_agent="a")

    repeat = await site.get("POST", "/", b"1", **asked, user_agent="b", via="1.1 c")

    assert repeat[1]["idempotent-replayed"] == "true"


async def test_what_is_no_key_is_refused(site: Site) -> None:
    status, _, body = await site.get(idempotency_key="x" * 256)

    assert status == 400
    assert b"idempotency key" in body


async def test_a_throttled_request_can_be_sent_again(site: Site) -> None:
    site.runner.answers["echo"] = Throttled("", reason="R", limit=1, retry_after_s=1)
    refused = await site.get("POST", "/", b"1", idempotency_key="k")
    del site.runner.answers["echo"]

    again = await site.get("POST", "/", b"1", idempotency_key="k")

    assert (refused[0], again[0]) == (429, 200)
    assert "idempotent-replayed" not in again[1]


# --- streams ------------------------------------------------------------------------


@dataclass
class Source:
    """Where streamed answers come from: pieces that a test puts in."""

    pieces: "asyncio.Queue[bytes | Exception | None]"
    content_type: str = INTEGRATION
    may_stream: list[bool] | None = None

    @asynccontextmanager
    async def __call__(
        self, invocation: Invocation, *, may_stream: bool
    ) -> AsyncIterator[Streamed]:
        self.may_stream = [*(self.may_stream or []), may_stream]
        yield Streamed(content_type=self.content_type, pieces=self._each())

    async def _each(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@asynccontextmanager
async def streaming(
    **options: Any,
) -> AsyncIterator[tuple[Site, Source, asyncio.StreamReader]]:
    source = Source(asyncio.Queue(), **options)
    async with serving(answering=source) as port:
        mode = InvokeMode.RESPONSE_STREAM
        async with site_of(port, invoke_mode=mode, cors=CORS) as site:
            async with port.connected() as (reader, writer):
                writer.write(site.request(origin=ORIGIN))
                yield site, source, reader


async def test_a_stream_is_passed_on_as_it_comes() -> None:
    head = {"statusCode": 203, "headers": {"x-one": "1"}, "cookies": ["a=1"]}
    async with streaming() as (_, source, reader):
        source.pieces.put_nowait(json.dumps(head).encode() + bytes(4))
        source.pieces.put_nowait(bytes(4) + b"one")

        told = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readexactly(len(b"3\r\none\r\n"))
        source.pieces.put_nowait(b"two")
        second = await reader.readexactly(len(b"3\r\ntwo\r\n"))
        source.pieces.put_nowait(None)
        end = await reader.readexactly(len(b"0\r\n\r\n"))

    assert told.startswith(b"HTTP/1.1 203 ")
    assert b"\r\nx-one: 1\r\n" in told
    assert b"\r\nset-cookie: a=1\r\n" in told
    assert b"\r\ncontent-type: application/octet-stream\r\n" in told
    assert b"\r\naccess-control-allow-origin: https://page.test\r\n" in told
    assert b"\r\ntransfer-encoding: chunked\r\n" in told
    assert (first, second, end) == (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n")
    assert source.may_stream == [True]


async def test_a_stream_that_breaks_has_no_end() -> None:
    async with streaming(content_type="text/plain") as (_, source, reader):
        source.pieces.put_nowait(b"one")
        source.pieces.put_nowait(OSError("it broke"))

        came = await reader.read()

    assert came.endswith(b"3\r\none\r\n")


async def test_a_stream_without_a_head_is_a_bad_gateway() -> None:
    async with streaming() as (site, source, reader):
        source.pieces.put_nowait(b"no head")
        source.pieces.put_nowait(None)

        status, _, body = await answer_from(reader)

    assert (status, body) == (502, b"Internal Server Error")
    *_, (_, _, line) = site.port.engine.records.lines
    assert line.text.startswith(b"Function URL: 502, ")


async def test_a_buffered_url_asks_for_no_stream() -> None:
    source = Source(asyncio.Queue(), content_type="text/plain")
    source.pieces.put_nowait(None)
    async with serving(answering=source) as port, site_of(port) as site:
        await site.get()

    assert source.may_stream == [False]


# --- Invoke -------------------------------------------------------------------------


def invoke(port: Port, body: bytes = b"1", *, kind: str = "RequestResponse") -> bytes:
    headers = {"Idempotency-Key": "k", "X-Amz-Invocation-Type": kind}
    return port.signed(body=body, headers=headers)


async def test_invoke_takes_a_key(site: Site) -> None:
    port = site.port
    first = await port.exchange(invoke(port))
    repeat = await port.exchange(invoke(port))
    other = await port.exchange(invoke(port, b"2"))
    unkeyed = await port.exchange(port.signed(body=b"2"))

    assert (first[2], repeat[2]) == (b"1", b"1")
    assert repeat[1]["x-amzn-requestid"] == first[1]["x-amzn-requestid"]
    assert repeat[1]["idempotent-replayed"] == "true"
    assert other[0] == 422
    assert other[1]["x-amzn-errortype"] == "IdempotentParameterMismatchException"
    assert unkeyed[2] == b"2"


async def test_an_event_with_a_key_is_queued_once(site: Site) -> None:
    port = site.port

    answers = [await port.exchange(invoke(port, kind="Event")) for _ in range(3)]
    await until(lambda: site.runner.started.qsize() > 0)

    assert [answer[0] for answer in answers] == [202] * 3
    assert len({answer[1]["x-amzn-requestid"] for answer in answers}) == 1
    assert len(port.engine.events.all) == 1
