"""Several requests at once on one connection of the HTTP port."""

import asyncio
from contextlib import closing

import pytest

from sandlot_engine.gateway import connections, http
from sandlot_engine.gateway.aws.receiving import Receive, Scope, Send
from sandlot_engine.gateway.untaken import Untaken

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_who_hangs_up_with_several_requests_open_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    has_answered, has_ended = asyncio.Event(), asyncio.Event()

    async def app(_: Scope, _receive: Receive, send: Send) -> None:
        if not has_answered.is_set():
            has_answered.set()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            has_ended.set()

    with closing(http.listen("127.0.0.1:0")) as listener:
        async with http.serve_app(app, listener, drain_s=1):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(REQUEST * 3)
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            await has_ended.wait()

    assert caplog.records == []


@pytest.mark.parametrize(
    ("request_", "answered"),
    [
        (REQUEST, connections.MAX_AHEAD + 1),
        (
            REQUEST[:-2] + b"x:y\r\n" * (connections.MAX_HEADERS // 2 - 1) + b"\r\n",
            3,
        ),
    ],
)
async def test_only_so_many_requests_wait_for_an_earlier_one_s_answer(
    request_: bytes, answered: int
) -> None:
    asked = 0

    async def app(_: Scope, _receive: Receive, send: Send) -> None:
        nonlocal asked
        asked += 1
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with closing(http.listen("127.0.0.1:0")) as listener:
        async with http.serve_app(app, listener, drain_s=1):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(request_ * 100)
            answers = (await reader.read()).split(b"\r\n\r\n")[:-1]
            writer.close()

    assert len(answers) == asked == answered
    closing_ones = [each for each in answers if b"\r\nconnection: close" in each]
    assert closing_ones == answers[-1:]


async def test_what_came_of_a_body_that_nobody_wanted_is_not_kept() -> None:
    seen: list[connections.Connection] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope[connections.KEY])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with closing(http.listen("127.0.0.1:0")) as listener:
        async with http.serve_app(app, listener, drain_s=1):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
            writer.write(head + b"1234")
            await reader.readuntil(b"\r\n\r\n")
            left = len(seen[0].cycle.body)
            writer.close()

    assert left == 0


async def test_bodies_of_requests_that_wait_count_as_what_nobody_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def app(_: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = {"type": "http.response.body", "body": bytes(1 << 20), "more_body": True}
        while True:
            await send(more)

    untaken = Untaken()
    monkeypatch.setattr(connections, "Untaken", lambda: untaken)
    # How much of its answer a client has the kernel take is the kernel's affair.
    monkeypatch.setattr(connections, "COPIES", 0)
    with closing(http.listen("127.0.0.1:0")) as listener:
        async with http.serve_app(app, listener, drain_s=1):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(REQUEST)
            while not untaken._waiting:  # noqa: ASYNC110, SLF001 - it tells nobody
                await asyncio.sleep(0)
            head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n"
            writer.write(head + bytes(50_000))
            while untaken.total < 50_000:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)
            writer.transport.abort()

    assert untaken.total == 0
