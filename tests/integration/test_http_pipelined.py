"""Several requests at once on one connection of the HTTP port."""

import asyncio
from contextlib import closing

import pytest

from sandlot_engine.gateway import http
from sandlot_engine.gateway.aws.receiving import Receive, Scope, Send

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
