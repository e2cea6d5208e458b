"""What takes the engine long to read has bounds: a request that has no package in it,
and what is beside one."""

import asyncio
import itertools
import json
import os
from collections.abc import Mapping
from typing import Any

import pytest

from sandlot_engine.gateway.aws.app import MAX_PLAIN_REQUEST
from sandlot_engine.gateway.aws.asking import MAX_TOLD_NAME
from sandlot_engine.gateway.aws.operations import OPERATIONS, Call
from sandlot_engine.gateway.aws.receiving import LITTLE
from sandlot_engine.gateway.aws.values import MAX_VALUES
from tests.integration.http_port import Port, code_of

CONFIGURATION = "/2015-03-31/functions/echo/configuration"


async def put(port: Port, body: bytes) -> tuple[int, dict[str, str], bytes]:
    return await port.exchange(port.signed(CONFIGURATION, method="PUT", body=body))


async def test_what_has_no_package_in_it_is_small(port: Port) -> None:
    answer = await put(port, b'{"%s": 1}' % ("é" * MAX_PLAIN_REQUEST).encode())

    assert code_of(answer) == (413, "RequestEntityTooLargeException")
    assert json.loads(answer[2])["message"] == (
        "Request must be smaller than 1048576 bytes for the "
        "UpdateFunctionConfiguration operation"
    )


async def test_it_has_only_so_many_values(port: Port) -> None:
    answer = await put(port, b'{"Layers": [%s1]}' % (b"1," * MAX_VALUES))

    assert code_of(answer) == (400, "SerializationException")
    assert f"more than {MAX_VALUES} values".encode() in answer[2]


async def test_who_sends_large_ones_without_end_has_breaks_and_nobody_else(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(step=60)  # whatever is read takes a minute
    monkeypatch.setattr("time.thread_time", lambda: next(seconds))
    large = b'{"Description": "%s"}' % (b"x" * LITTLE)
    first = await put(port, large)
    late = asyncio.create_task(put(port, large))
    small = await put(port, b'{"Description": "x"}')
    request = port.signed(CONFIGURATION, method="PUT", body=large, key="key-of-globex")
    other = await port.exchange(request)

    assert first[0] == other[0] == 400
    assert small[0] == 200
    assert not late.done()
    late.cancel()


async def test_who_lists_without_end_has_breaks_and_nobody_else(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Call) -> Mapping[str, Any]:
        return {"Functions": []}

    monkeypatch.setitem(OPERATIONS, "ListFunctions", nothing)
    seconds = itertools.count(step=60)  # whatever is done takes a minute
    monkeypatch.setattr("time.thread_time", lambda: next(seconds))
    listing = port.signed("/2015-03-31/functions", method="GET", body=b"")
    first = await port.exchange(listing)
    late = asyncio.create_task(port.exchange(listing))
    shown = await port.exchange(port.signed(CONFIGURATION, method="GET", body=b""))
    others = port.signed(
        "/2015-03-31/functions", method="GET", body=b"", key="key-of-globex"
    )
    other = await port.exchange(others)

    assert first[0] == shown[0] == other[0] == 200
    assert not late.done()
    late.cancel()


async def test_what_is_unknown_is_not_repeated_at_length(port: Port) -> None:
    answer = await put(port, b'{"%s": 1}' % (b"x" * 100_000))

    assert code_of(answer) == (400, "InvalidParameterValueException")
    assert answer[2].count(b"x") < MAX_TOLD_NAME + 10


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/2015-03-31/functions", {"Code": {"ZipFile": ""}}),
        ("PUT", "/2015-03-31/functions/echo/code", {"ZipFile": ""}),
        ("POST", "/2018-10-31/layers/l/versions", {"Content": {"ZipFile": ""}}),
    ],
)
async def test_where_there_may_be_a_package_it_may_be_large(
    port: Port, method: str, path: str, body: dict[str, Any]
) -> None:
    sent = json.dumps(body).replace('""', f'"{"A" * MAX_PLAIN_REQUEST}!"').encode()

    answer = await port.exchange(port.signed(path, method=method, body=sent))

    assert code_of(answer) == (400, "SerializationException")
    assert b"base64" in answer[2]


async def test_a_package_that_is_taken_out_is_what_was_sent(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, calls = os.urandom(2 * MAX_PLAIN_REQUEST), list[Call]()

    async def publish(call: Call) -> Mapping[str, Any]:
        calls.append(call)
        return {}

    monkeypatch.setitem(OPERATIONS, "PublishLayerVersion", publish)
    await port.call(
        "publish_layer_version", LayerName="l", Content={"ZipFile": package}
    )

    assert calls[0].input == {"LayerName": "l", "Content": {"ZipFile": package}}


@pytest.mark.parametrize(
    "body",
    [
        {"S3Key": "A" * 4 * MAX_PLAIN_REQUEST},
        {"ZipFile": "A" * 2 * MAX_PLAIN_REQUEST, "S3Key": "é" * MAX_PLAIN_REQUEST},
    ],
)
async def test_what_is_beside_a_package_is_small(
    port: Port, body: dict[str, str]
) -> None:
    path = "/2015-03-31/functions/echo/code"
    sent = json.dumps(body).encode()

    answer = await port.exchange(port.signed(path, method="PUT", body=sent))

    assert code_of(answer) == (413, "RequestEntityTooLargeException")
    assert b"1048576 bytes beside its package" in answer[2]
