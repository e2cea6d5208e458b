"""`UrlService` over a real gRPC server and channel."""

from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from sandlot.v1 import urls_pb2 as wire
from sandlot.v1 import urls_pb2_grpc
from tests.fakes.backend import ACME, FakeEngine, as_tenant, fake_engine

KEY = as_tenant("acme")
CORS = wire.UrlCors(allow_origins=["https://a.test"], max_age_s=60)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        engine.addresses.note_served_at("127.0.0.1", 9070)
        yield engine


async def put(engine: FakeEngine, function: str = "echo", **fields: Any) -> Any:
    service = cast("Any", urls_pb2_grpc).UrlServiceStub(engine.channel)
    request = wire.PutUrlRequest(function=function, **fields)
    return (await service.PutUrl(request, metadata=KEY, timeout=20)).url


async def listed(engine: FakeEngine) -> list[Any]:
    service = cast("Any", urls_pb2_grpc).UrlServiceStub(engine.channel)
    request = wire.ListUrlsRequest(function="echo")
    return list((await service.ListUrls(request, metadata=KEY, timeout=20)).urls)


async def delete(engine: FakeEngine) -> None:
    service = cast("Any", urls_pb2_grpc).UrlServiceStub(engine.channel)
    request = wire.DeleteUrlRequest(function="echo")
    await service.DeleteUrl(request, metadata=KEY, timeout=20)


def may_anybody_call(engine: FakeEngine) -> bool:
    return engine.policies.may_call_url(ACME, "echo", "", "", auth_type="NONE")


async def test_a_function_gets_an_address(engine: FakeEngine) -> None:
    url = await put(engine, auth=wire.URL_AUTH_NONE, cors=CORS, streamed=True)

    (kept,) = engine.urls.list(ACME, "echo")[0]
    assert url.url == f"http://127.0.0.1:9070/url/{kept.id}/"
    assert (url.function, url.alias, url.streamed) == ("echo", "", True)
    assert (url.auth, url.cors) == (wire.URL_AUTH_NONE, CORS)
    assert await listed(engine) == [url]
    assert may_anybody_call(engine)


async def test_it_is_changed_as_a_whole_and_stays_where_it_is(
    engine: FakeEngine,
) -> None:
    first = await put(engine, auth=wire.URL_AUTH_NONE, cors=CORS, streamed=True)

    again = await put(engine)

    assert again.url == first.url
    assert (again.auth, again.streamed) == (wire.URL_AUTH_IAM, False)
    assert not again.HasField("cors")
    assert not may_anybody_call(engine)


async def test_it_goes_with_its_statements(engine: FakeEngine) -> None:
    await put(engine, auth=wire.URL_AUTH_NONE)
    await delete(engine)

    assert await listed(engine) == []
    assert not may_anybody_call(engine)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await delete(engine)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"function": "none"}, grpc.StatusCode.NOT_FOUND),
        ({"function": "theirs"}, grpc.StatusCode.NOT_FOUND),
        ({"auth": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        (
            {"cors": wire.UrlCors(allow_methods=["FETCH"])},
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            {"cors": wire.UrlCors(allow_origins=["a\r\nb: c"])},
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
    ids=["unknown", "another tenant's", "auth", "method", "header"],
)
async def test_what_cannot_be_is_refused(
    engine: FakeEngine, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await put(engine, **fields)

    assert caught.value.code() is code
