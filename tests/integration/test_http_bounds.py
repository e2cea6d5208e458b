"""What the HTTP port takes of a request, and how long it waits for it."""

import asyncio
import json
from contextlib import closing, suppress

import pytest

from sandlot_engine.gateway import connections, http
from sandlot_engine.gateway.aws import receiving
from sandlot_engine.gateway.aws.receiving import Receive, Scope, Send
from sandlot_engine.model.invocation import (
    MAX_EVENT_PAYLOAD,
    MAX_PAYLOAD,
)
from tests.fakes.backend import ACME
from tests.integration.http_port import Port, answer_from, code_of, serving, until

# --- limits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("RequestResponse", MAX_PAYLOAD), ("Event", MAX_EVENT_PAYLOAD)],
)
async def test_the_largest_event_passes_and_one_byte_more_does_not(
    port: Port, kind: str, limit: int
) -> None:
    largest = b'"' + b"x" * (limit - 2) + b'"'

    await port.invoke(Payload=largest, InvocationType=kind)
    answer = await port.refused(Payload=largest + b" ", InvocationType=kind)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert answer["Error"]["Code"] == "RequestEntityTooLargeException"
    assert answer["Error"]["Message"] == (
        f"{limit + 1} byte payload is too large for the {kind} invocation type "
        f"(limit {limit} bytes)"
    )


async def test_who_is_unknown_is_not_told_the_limit(port: Port) -> None:
    too_large = b"x" * (MAX_PAYLOAD + 1)

    answer = await port.exchange(port.signed(body=too_large, secret="wrong"))

    assert code_of(answer) == (403, "InvalidSignatureException")


async def test_what_is_larger_than_any_request_is_refused_unread(port: Port) -> None:
    declared = f"content-length: {receiving.MAX_REQUEST + 1}".encode()
    sent = port.signed(body=b"").replace(b"Content-Length: 0", declared)

    status, _, body = await port.exchange(sent)

    assert status == 413
    assert b"70167212 byte payload is too large" in body


async def test_bodies_that_are_half_here_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiving, "MAX_BODIES_OF_TENANT", 100_000)

    async with serving() as port:
        refused = await port.exchange(port.signed(body=b"1" * 200_000))
        taken = await port.exchange(port.signed(body=b"1" * 1_000))

    assert code_of(refused) == (429, "TooManyRequestsException")
    assert json.loads(refused[2])["Reason"] == "CallerRateLimitExceeded"
    assert taken[0] == 200


async def test_a_tenant_s_keys_have_one_room_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenant makes as many keys as it likes."""
    room = receiving.BodyRoom(most=600_000, of_one=300_000)
    monkeypatch.setattr(receiving, "BodyRoom", lambda **_: room)
    async with serving() as port, port.connected() as (_, writer):
        other, _ = await port.engine.tenants.create_key(ACME)
        writer.write(port.signed(body=b"1" * 200_000)[:-1])
        await until(lambda: room.used > 150_000)

        refused = await port.exchange(port.signed(body=b"1" * 200_000, key=other.id))

    assert code_of(refused) == (429, "TooManyRequestsException")


# --- callers that go away, or do not come on --------------------------------------


@pytest.mark.parametrize("size", [1, 200_000])
async def test_a_caller_that_goes_away_frees_its_slot(port: Port, size: int) -> None:
    body = b"1" * size
    port.engine.runner.hold("slow")
    async with port.connected() as (_, writer):
        writer.write(port.signed("/2015-03-31/functions/slow/invocations", body=body))
        await port.engine.runner.started.get()

    await until(lambda: port.engine.invoker.admission.running(ACME) == 0)
    assert len(port.engine.runner.cancelled) == 1
    assert port.engine.records.records[0].error_type == "Sandbox.Cancelled"


async def test_what_outlasts_a_stop_is_told_that_it_may_have_been_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as port:
        port.engine.runner.hold("slow")
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(port.signed("/2015-03-31/functions/slow/invocations"))
        await port.engine.runner.started.get()

    status, headers, body = await answer_from(reader)
    assert (status, headers["x-amzn-errortype"]) == (500, "ServiceException")
    assert "may have been done" in json.loads(body)["Message"]
    assert await reader.read() == b""
    writer.close()
    assert len(port.engine.runner.cancelled) == 1
    # And no traceback; that the fakes' clock is another is none of it.
    assert [each.message for each in caplog.records if "clock" not in each.message] == [
        "1 requests by HTTP were cut short: the time that a stop gives them was over"
    ]


async def test_an_answer_that_outlasts_a_stop_is_seen_to_be_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(_: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await asyncio.get_running_loop().create_future()

    with closing(http.listen("127.0.0.1:0")) as listener:
        async with http.serve_app(app, listener, drain_s=1):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.readuntil(b"\r\n1\r\n1\r\n")

        assert await reader.read() == b""  # and no last chunk

    writer.close()
    assert len(caplog.records) == 1


async def test_a_caller_that_goes_away_in_its_body_runs_nothing(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    request = port.signed(body=b"1" * 1_000)
    async with port.connected() as (_, writer):
        writer.write(request[:-1])
        await writer.drain()
        await port.invoke("echo")
        await port.engine.runner.started.get()

    await port.invoke("echo")
    assert port.engine.runner.started.qsize() == 1
    assert [record.message for record in caplog.records] == []


@pytest.mark.parametrize(("bound", "cut"), [("HEAD", 50), ("BODY", -1)])
async def test_a_request_that_does_not_come_on_is_ended(
    port: Port, monkeypatch: pytest.MonkeyPatch, bound: str, cut: int
) -> None:
    monkeypatch.setattr(connections, f"{bound}_DEADLINE_S", 0.05)

    status, headers, _ = await port.exchange(port.signed()[:cut])

    assert (status, headers["connection"]) == (408, "close")


async def test_a_connection_that_says_nothing_is_closed(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_DEADLINE_S", 0.05)

    async with port.connected() as (reader, _):
        status, _, _ = await answer_from(reader)
        assert await reader.read() == b""

    assert status == 408


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_giant_head_is_refused(port: Port, pieces: int) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: " + b"x" * connections.MAX_HEAD
    sent += b"\r\n\r\n"
    async with port.connected() as (reader, writer):
        for piece in range(pieces):
            size = len(sent) // pieces + 1
            writer.write(sent[piece * size : (piece + 1) * size])
            await writer.drain()
        status, _, _ = await answer_from(reader)

    assert status == 431


@pytest.mark.parametrize(
    ("path", "query", "is_taken"),
    [
        (connections.MAX_PATH, 0, True),
        (connections.MAX_PATH + 1, 0, False),
        (2, connections.MAX_TARGET - 2, True),
        (2, connections.MAX_TARGET - 1, False),
    ],
)
async def test_a_target_that_takes_long_to_be_read_is_refused(
    port: Port, path: int, query: int, *, is_taken: bool
) -> None:
    target = b"/" + b"x" * (path - 1) + b"?" * (query > 0) + b"x" * (query - 1)

    status, _, _ = await port.exchange(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % target)

    assert status == (404 if is_taken else 414)


async def test_a_head_of_very_many_fields_is_refused(port: Port) -> None:
    fields = b"x:y\r\n" * (connections.MAX_HEADERS + 1)

    status, _, _ = await port.exchange(b"GET /healthz HTTP/1.1\r\n" + fields + b"\r\n")

    assert status == 431


@pytest.mark.parametrize(
    "piece",
    [b"x:y\r\n", b"x" * 1024, b"x:" + b"y" * 1024],
    ids=["many", "name", "long"],
)
@pytest.mark.parametrize("before", [b"0\r\n", b"1;"], ids=["trailer", "extension"])
async def test_what_is_no_part_of_a_body_does_not_come_without_end(
    port: Port, before: bytes, piece: bytes
) -> None:
    head = b"POST /nothing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    sent = piece * (connections.MAX_SILENT // len(piece) + 1)
    async with asyncio.timeout(10), port.connected() as (reader, writer):
        writer.write(head + before)
        await answer_from(reader)  # and we are in the midst of the body
        with pytest.raises(ConnectionError):
            await _send_on_and_on(writer, sent)


async def _send_on_and_on(writer: asyncio.StreamWriter, piece: bytes) -> None:
    for _ in range(100):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_body_in_small_chunks_is_a_body(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_SILENT", 64)
    signed = port.signed(body=b'"' + b"x" * 998 + b'"')
    head, _, body = signed.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")
    async with port.connected() as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        for start in range(0, len(body), 10):
            for part in (b"a;some=extension\r\n", body[start : start + 10], b"\r\n"):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        status, _, _ = await answer_from(reader)

    assert status == 200


async def test_a_key_that_is_taken_back_while_a_body_comes_is_unknown(
    port: Port,
) -> None:
    head, _, body = port.signed(headers={"Expect": "100-continue"}).rpartition(b"{")
    async with port.connected() as (reader, writer):
        writer.write(head)
        await reader.readuntil(b"100 Continue\r\n\r\n")  # the key was looked at

        await port.engine.tenants.revoke_key(ACME, "key-of-acme")
        writer.write(b"{" + body)
        answer = await answer_from(reader)

    assert code_of(answer) == (403, "UnrecognizedClientException")
    assert port.engine.runner.started.empty()


async def test_connections_have_a_bound() -> None:
    async with serving(max_connections=1) as port, port.connected() as (_, writer):
        port.engine.runner.hold("slow")
        writer.write(port.signed("/2015-03-31/functions/slow/invocations"))
        await port.engine.runner.started.get()
        async with port.connected() as (reader, _):
            status, _, _ = await answer_from(reader)

    assert status == 503


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n", id="half a head"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", id="a request"),
        pytest.param(
            b"POST /2015-03-31/functions HTTP/1.1\r\ncontent-length: 9\r\n\r\n",
            id="half a body that is not read",
        ),
    ],
)
async def test_who_is_idle_makes_room(sent: bytes) -> None:
    async with (
        serving(max_connections=1) as port,
        port.connected() as (reader, writer),
    ):
        writer.write(sent)
        if sent.endswith(b"\r\n\r\n"):
            await answer_from(reader)
        status, _, _ = await port.exchange(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        with suppress(ConnectionError):
            assert await reader.read() == b""

    assert status == 200


async def test_who_is_idle_for_longest_goes_first() -> None:
    async with (
        serving(max_connections=2) as port,
        port.connected() as (first, _),
        port.connected() as (second, writer),
        port.connected(),
    ):
        closed = await first.read()
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        status, _, _ = await answer_from(second)

    assert (closed, status) == (b"", 200)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /2015-03-31/functions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /2015-03-31/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400(port: Port, sent: bytes) -> None:
    assert (await port.exchange(sent))[0] == 400
