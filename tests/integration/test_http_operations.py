"""AWS's other operations, and the engine's own paths, over the real HTTP port."""

import asyncio
import errno
import json
import logging
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.errors import NotFound, Throttled, Unavailable
from sandlot_engine.gateway import http
from sandlot_engine.gateway.aws import app, buckets, downloads, receiving
from sandlot_engine.gateway.aws.operations import OPERATIONS, Call
from tests.fakes.backend import ACME
from tests.integration.http_port import Port, code_of, serving

# --- the other operations ---------------------------------------------------------


@pytest.fixture
def account_settings(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls of an operation that is registered for this test."""
    calls = []

    async def get_account_settings(call: Call) -> Mapping[str, Any]:
        calls.append(call)
        return {"AccountUsage": {"FunctionCount": 2}}

    monkeypatch.setitem(OPERATIONS, "GetAccountSettings", get_account_settings)
    return calls


async def test_an_operation_gets_what_was_asked_and_by_whom(
    port: Port, account_settings: list[Call]
) -> None:
    answer = await port.call("get_account_settings")

    [call] = account_settings
    assert answer["AccountUsage"] == {"FunctionCount": 2}
    assert (call.caller.tenant_id, call.region) == (ACME, "eu-central-1")
    assert (call.operation, call.input) == ("GetAccountSettings", {})
    assert call.base_url == port.url
    assert call.request_id == answer["ResponseMetadata"]["RequestId"]


async def test_what_is_not_there_yet_is_refused_by_name(port: Port) -> None:
    answer = await port.refused("list_capacity_providers")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert answer["Error"]["Code"] == "NotImplementedException"
    assert answer["Error"]["Message"].startswith("ListCapacityProviders is not suppor")


async def test_an_operation_that_takes_too_long_is_ended(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forever(_: Call) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setitem(OPERATIONS, "GetAccountSettings", forever)
    monkeypatch.setattr(app, "OPERATION_DEADLINE_S", 0.01)

    answer = await port.refused("get_account_settings")

    assert answer["Error"]["Code"] == "DeadlineExceededException"


async def test_requests_that_are_being_answered_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a tenant has as many packages in memory as it has connections."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Call) -> Mapping[str, Any]:
        begun.set()
        await go.wait()
        return {}

    monkeypatch.setattr(app, "MAX_HELD_OF_TENANT", 300_000)
    layer: dict[str, Any] = {
        "LayerName": "one",
        "Content": {"ZipFile": bytes(150_000)},
    }
    async with serving() as port, asyncio.TaskGroup() as group:
        monkeypatch.setitem(OPERATIONS, "PublishLayerVersion", slow)
        first = group.create_task(port.call("publish_layer_version", **layer))
        await begun.wait()

        refused = await port.refused("publish_layer_version", **layer)
        of_another = group.create_task(
            port.call("publish_layer_version", "globex", **layer)
        )
        go.set()

        await first
        await of_another
        await port.call("publish_layer_version", **layer)

    assert refused["Error"]["Code"] == "TooManyRequestsException"


NEW_FUNCTION = (
    b'{"FunctionName": "app", "Runtime": "python3.11", "Handler": "app.handler",'
    b' "Role": "arn:aws:iam::123456789012:role/any", "Code": {"ZipFile": "%b"}}'
)


@pytest.mark.parametrize(
    ("operation", "path", "body"),
    [
        ("create", "/2015-03-31/functions", NEW_FUNCTION),
        ("update_code", "/2015-03-31/functions/echo/code", b'{"ZipFile": "%b"}'),
        (
            "publish",
            "/2018-10-31/layers/one/versions",
            b'{"Content": {"ZipFile": "%b"}}',
        ),
    ],
)
async def test_a_package_whose_caller_hung_up_counts_until_it_is_done_with(
    monkeypatch: pytest.MonkeyPatch, operation: str, path: str, body: bytes
) -> None:
    """The catalog goes on with it. Else one after another would be in memory, each
    until it is its turn to be built."""
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    answer = app.AwsApp.__call__

    async def build() -> None:
        begun.set()
        await go.wait()
        raise Unavailable("nobody hears this")

    async def whole(*_: object, **_more: object) -> None:
        await Keeper().whole(build())

    async def watched(*given: Any) -> None:
        try:
            await answer(*given)
        finally:
            ended.set()

    monkeypatch.setattr(app, "MAX_HELD_OF_TENANT", 100_000)
    monkeypatch.setattr(app.AwsApp, "__call__", watched)
    async with serving() as port:
        functions: Any = port.engine.functions
        layers = SimpleNamespace(publish=whole)
        monkeypatch.setattr(functions, "layers", layers, raising=False)
        monkeypatch.setattr(functions, operation, whole, raising=False)
        method = "PUT" if operation == "update_code" else "POST"
        sent = port.signed(path, method=method, body=body % b"AAAA")
        async with port.connected() as (_, writer):
            writer.write(sent)
            await begun.wait()
        await ended.wait()

        refused = await port.exchange(sent)
        go.set()
        taken = await port.exchange(sent)

    assert code_of(refused) == (429, "TooManyRequestsException")
    assert taken[0] != 429


async def test_a_package_that_goes_while_it_is_read_by_its_link_is_seen_to_be_cut(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"some of it"
        raise NotFound("There is no package any more.")

    async def package(_: str) -> tuple[int, AsyncGenerator[bytes, None]]:
        return 100, pieces()

    async with serving() as port:
        functions: Any = port.engine.functions
        monkeypatch.setattr(functions, "package", package, raising=False)
        monkeypatch.setattr(downloads.Downloads, "granted", lambda *_: "ab" * 32)
        async with port.connected() as (reader, writer):
            writer.write(b"GET /code/it.zip HTTP/1.1\r\nhost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            read = await _to_the_end(reader)

    assert b" 200 " in head
    assert read == b"some of it"
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    read = bytearray()
    with suppress(ConnectionResetError):
        while data := await reader.read(1 << 16):
            read += data
    return bytes(read)


async def test_a_key_that_is_taken_back_while_a_package_is_fetched_deploys_nothing(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetched(*_: object, **_more: object) -> bytes:
        await port.engine.tenants.revoke_key(ACME, "key-of-acme")
        return b"a package"

    monkeypatch.setattr(buckets.Buckets, "read", fetched)

    refused = await port.refused(
        "create_function",
        FunctionName="app",
        Runtime="python3.11",
        Handler="app.handler",
        Role="arn:aws:iam::123456789012:role/any",
        Code={"S3Bucket": "packages", "S3Key": "app.zip"},
    )

    assert refused["Error"]["Code"] == "UnrecognizedClientException"
    assert (ACME, "app") not in port.engine.functions.all


async def test_what_comes_from_a_bucket_counts_as_well_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fetching(call: Call) -> Mapping[str, Any]:
        call.hold(int(call.input["Content"]["S3Key"]))
        return {}

    monkeypatch.setattr(app, "MAX_HELD_OF_TENANT", 300_000)
    monkeypatch.setitem(OPERATIONS, "PublishLayerVersion", fetching)
    layer: dict[str, Any] = {"LayerName": "one", "Content": {"S3Bucket": "packages"}}
    async with serving() as port:
        layer["Content"]["S3Key"] = "200000"
        for _ in range(3):
            await port.call("publish_layer_version", **layer)
        layer["Content"]["S3Key"] = "300001"
        refused = await port.refused("publish_layer_version", **layer)

    assert refused["Error"]["Code"] == "TooManyRequestsException"


async def test_a_parameter_that_nobody_knows_is_refused_by_name(port: Port) -> None:
    answer = await port.exchange(
        port.signed("/2016-08-19/account-settings?Verbose=1", method="GET", body=b"")
    )

    assert code_of(answer) == (400, "InvalidParameterValueException")
    assert b"Verbose" in answer[2]


async def test_a_request_that_is_too_large_names_its_operation(port: Port) -> None:
    declared = f"content-length: {receiving.MAX_REQUEST + 1}".encode()
    sent = port.signed("/2015-03-31/functions", body=b"").replace(
        b"Content-Length: 0", declared
    )

    answer = await port.exchange(sent)

    assert code_of(answer) == (413, "RequestEntityTooLargeException")
    assert json.loads(answer[2])["message"] == (
        "Request must be smaller than 70167211 bytes for the CreateFunction operation"
    )


async def test_paths_that_aws_does_not_have(port: Port) -> None:
    unknown = await port.exchange(b"GET /2015-03-31/no HTTP/1.1\r\nhost: x\r\n\r\n")
    elsewhere, _, told = await port.exchange(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n")

    assert code_of(unknown) == (404, "UnknownOperationException")
    assert elsewhere == 404
    assert b"AWS_ENDPOINT_URL_LAMBDA" in told


async def test_the_engines_health_is_for_everybody(port: Port) -> None:
    status, _, body = await port.exchange(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    posted, _, _ = await port.exchange(b"POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n")

    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert posted == 405


async def test_an_address_of_another_machine_is_said(port: Port) -> None:
    with pytest.raises(Unavailable, match=r"assign .* address\. Is that an address of"):
        async with http.serve(
            port.engine.backend(),
            port.engine.parts(),
            address="192.0.2.1:0",
            trouble=lambda: "",
        ):
            pass


def test_a_port_that_is_root_s_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)

    with pytest.raises(Unavailable, match=r"denied\. Ports below 1024 are root's"):
        http.listen("127.0.0.1:80")


async def test_a_taken_port_is_said(port: Port) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"cannot serve HTTP.*in use. Stop what"):
            async with http.serve(
                port.engine.backend(),
                port.engine.parts(),
                address=address,
                trouble=lambda: "",
            ):
                pass


# --- /metrics -------------------------------------------------------------------

ASKED = b"GET /metrics HTTP/1.1\r\nhost: x\r\n"


async def test_the_machine_s_own_may_read_how_busy_the_engine_is(port: Port) -> None:
    await port.invoke()
    port.engine.runner.answers["echo"] = Throttled(
        "full", reason="ConcurrentInvocationLimitExceeded", limit=1, retry_after_s=1
    )
    await port.refused()

    status, headers, body = await port.exchange(ASKED + b"\r\n")

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'sandlot_invocations_total{status="ok"} 1.0' in body
    reason = b'reason="ConcurrentInvocationLimitExceeded"'
    assert b"sandlot_throttled_total{" + reason + b"} 1.0" in body
    assert b"acme" not in body


@pytest.mark.parametrize(
    "added", ["X-Forwarded-For: 192.0.2.1", "Via: 1.1 caddy", "X-Real-IP: 192.0.2.1"]
)
async def test_what_a_proxy_on_this_machine_passes_on_is_from_elsewhere(
    port: Port, added: str
) -> None:
    status, _, _ = await port.exchange(ASKED + f"{added}\r\n\r\n".encode())

    assert status == 403


@pytest.mark.parametrize(
    ("key", "allowed"), [("", 403), ("key-of-acme", 403), ("key-of-operator", 200)]
)
async def test_from_elsewhere_only_an_operator_may(
    port: Port, monkeypatch: pytest.MonkeyPatch, key: str, allowed: int
) -> None:
    monkeypatch.setattr(http, "is_of_this_machine", lambda _: False)
    sent = f"authorization: Bearer {key}:{key}-secret\r\n" if key else ""

    status, _, _ = await port.exchange(ASKED + sent.encode() + b"\r\n")

    assert status == allowed
