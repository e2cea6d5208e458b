"""The HTTP port when it stops: it waits for what is open, and for nothing else."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from sandlot_engine.gateway import http
from sandlot_engine.gateway.aws.receiving import Receive, Scope, Send

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
Address = tuple[str, int]
TRIES = 5
LONG_S = 0.05
"""Half of what lies between two looks of uvicorn's at whether all is done."""


class Slow:
    """An ASGI callable that answers when it is let, and notes what became of it."""

    def __init__(self) -> None:
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.was_cancelled = asyncio.Event()

    async def __call__(self, _: Scope, _receive: Receive, send: Send) -> None:
        self.is_asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def answer_when_nobody_is_let_in(self, address: Address) -> float:
        """When that was: as soon as the port is closed."""
        with contextlib.suppress(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection(*address)
                writer.transport.abort()
        self.may_answer.set()
        return time.monotonic()


@asynccontextmanager
async def serving(app: http.App, *, drain_s: int = 30) -> AsyncIterator[Address]:
    with closing(http.listen("127.0.0.1:0")) as listener:
        async with http.serve_app(app, listener, drain_s=drain_s):
            yield listener.getsockname()


async def test_nothing_is_waited_for_where_no_request_is_open() -> None:
    took_s = []

    for _ in range(TRIES):
        async with serving(Slow()) as address:
            _, writer = await asyncio.open_connection(*address)
            stopped_at = time.monotonic()
        took_s.append(time.monotonic() - stopped_at)
        writer.close()

    assert min(took_s) < LONG_S


async def test_a_request_that_is_open_is_answered_and_that_is_the_end() -> None:
    took_s = []

    for _ in range(TRIES):
        app = Slow()
        async with serving(app) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(REQUEST)
            await app.is_asked.wait()
            answering = asyncio.create_task(app.answer_when_nobody_is_let_in(address))
        took_s.append(time.monotonic() - await answering)
        assert (await reader.readline()).split()[1] == b"204"
        writer.close()

    assert min(took_s) < LONG_S


async def test_what_outlasts_the_drain_is_cancelled() -> None:
    app = Slow()

    async with serving(app, drain_s=0) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST)
        await app.is_asked.wait()

    await asyncio.wait_for(app.was_cancelled.wait(), 10)
    writer.close()
