"""The engine's HTTP port over fakes, reached by boto3 and by bytes that boto3 never
sends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sandlot_engine.gateway import http
from tests.fakes.backend import FakeEngine


@dataclass
class Port:
    """The engine, and how to reach it."""

    engine: FakeEngine
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, tenant: str = "acme", **options: Any) -> Any:
        options = {"region_name": "eu-central-1"} | options
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            aws_access_key_id=f"key-of-{tenant}",
            aws_secret_access_key=f"key-of-{tenant}-secret",
            config=Config(
                retries={"total_max_attempts": 1}, read_timeout=20, connect_timeout=5
            ),
            **options,
        )

    async def call(self, operation: str, tenant: str = "acme", **input_: Any) -> Any:
        """By boto3, on a thread of its own."""

        def run() -> Any:
            client = self.client(tenant)
            try:
                answer = getattr(client, operation)(**input_)
                if "Payload" in answer:
                    with answer["Payload"] as stream:
                        answer["Payload"] = stream.read()
                return answer
            finally:
                client.close()

        return await asyncio.to_thread(run)

    async def invoke(self, function: str = "echo", **input_: Any) -> Any:
        return await self.call("invoke", FunctionName=function, **input_)

    async def refused(self, operation: str = "invoke", **input_: Any) -> dict[str, Any]:
        """The answer that boto3 makes an error of."""
        if operation == "invoke":
            input_ = {"FunctionName": "echo"} | input_
        with pytest.raises(ClientError) as caught:
            await self.call(operation, **input_)
        return dict(caught.value.response)

    def signed(
        self,
        path: str = "/2015-03-31/functions/echo/invocations",
        *,
        method: str = "POST",
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
        key: str = "key-of-acme",
        secret: str = "",
    ) -> bytes:
        """The bytes of a request."""
        request = AWSRequest(method, self.url + path, headers=headers, data=body)
        request.headers["Host"] = f"127.0.0.1:{self.port}"
        credentials = Credentials(key, secret or f"{key}-secret")
        SigV4Auth(credentials, "lambda", "eu-central-1").add_auth(request)
        request.headers["Content-Length"] = str(len(body))
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
        return head.encode() + body

    @asynccontextmanager
    async def connected(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def exchange(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """One answer to what is sent."""
        async with self.connected() as (reader, writer):
            writer.write(sent)
            return await answer_from(reader)


async def answer_from(
    reader: asyncio.StreamReader,
) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {
        name.lower(): value
        for name, _, value in (line.partition(": ") for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Port]:
    """A port of a new engine; `options` are those of `http.serve`."""
    engine = FakeEngine()
    engine.clock.start = datetime.now(UTC)  # clients sign by the real one
    async with engine.invoker:
        async with http.serve(
            engine.backend(),
            engine.parts(),
            address="127.0.0.1:0",
            trouble=lambda: "",
            drain_s=1,
            **options,
        ) as number:
            yield Port(engine, number)


async def until(is_true: Callable[[], object]) -> None:
    """Let others run until something is true; pytest's timeout is the deadline."""
    while not is_true():  # noqa: ASYNC110 - what is awaited tells nobody
        await asyncio.sleep(0)


def code_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return answer[0], answer[1]["x-amzn-errortype"]
