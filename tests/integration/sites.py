"""Function URLs on a port, and requests to them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sandlot_engine.catalog.open_urls import OpenUrls
from sandlot_engine.gateway.connections import Connection
from sandlot_engine.model.invocation import Ended, Run
from sandlot_engine.model.url import Cors, FunctionUrl, InvokeMode, UrlAuthType
from tests.fakes.backend import ACME
from tests.integration.http_port import Port

ORIGIN = "https://page.test"
CORS = Cors(allow_origins=(ORIGIN,), allow_methods=("PUT",), max_age_s=60)
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Site:
    """A port, and a function URL on it."""

    port: Port
    url: FunctionUrl

    @property
    def runner(self) -> Any:
        return self.port.engine.runner

    @property
    def path(self) -> str:
        return f"/url/{self.url.id}"

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes = b"",
        *,
        host: str = "box",
        prefix: str | None = None,
        **headers: str,
    ) -> bytes:
        """The bytes of an unsigned request; `_` in a header's name is `-`."""
        lines = [f"{name.replace('_', '-')}: {each}" for name, each in headers.items()]
        if body:
            lines.append(f"content-length: {len(body)}")
        target = (self.path if prefix is None else prefix) + path
        head = [f"{method} {target} HTTP/1.1", f"host: {host}", *lines, "", ""]
        return "\r\n".join(head).encode() + body

    async def get(self, *args: Any, **options: Any) -> Answer:
        return await self.port.exchange(self.request(*args, **options))

    def answers(self, answer: object) -> None:
        self.runner.answers["echo"] = Run(
            ended=Ended.ANSWERED,
            payload=json.dumps(answer).encode(),
            duration_s=0.1,
            wait_s=0.0,
            max_memory_mb=9,
        )


@asynccontextmanager
async def site_of(
    port: Port,
    function: str = "echo",
    *,
    auth_type: UrlAuthType = UrlAuthType.NONE,
    cors: Cors | None = None,
    invoke_mode: InvokeMode = InvokeMode.BUFFERED,
) -> AsyncIterator[Site]:
    urls = OpenUrls(port.engine.urls, port.engine.policies)
    url = await urls.put(
        ACME, function, auth_type=auth_type, cors=cors, invoke_mode=invoke_mode
    )
    yield Site(port, url)


def noting_losses(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the server has noticed that a connection is gone."""
    lost = asyncio.Event()
    connection_lost = Connection.connection_lost

    def note_lost(connection: Connection, error: Exception | None) -> None:
        connection_lost(connection, error)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", note_lost)
    return lost
