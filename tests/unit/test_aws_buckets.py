"""Packages out of an S3-compatible store."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from sandlot_engine.catalog import packages
from sandlot_engine.errors import InvalidParameter, Throttled, TooLarge, Unavailable
from sandlot_engine.gateway.aws import buckets
from sandlot_engine.gateway.aws.buckets import BucketAccess, Buckets
from tests.fakes.bucket_store import WAIT_S, Store, bucket_store

OBJECTS = {("/packages/app.zip", ""): b"first", ("/packages/app.zip", "v2"): b"second"}


def anything(_: int) -> None:
    """There is room for it."""


def read(
    store: Buckets,
    key: str = "app.zip",
    version: str = "",
    *,
    tenant_id: str = "acme",
    hold: Callable[[int], object] = anything,
) -> Coroutine[Any, Any, bytes]:
    return store.read("packages", key, version, tenant_id=tenant_id, hold=hold)


@pytest.fixture
def endpoint() -> Iterator[str]:
    with bucket_store(OBJECTS) as endpoint:
        yield endpoint


def _buckets(endpoint: str, *, key: str = "KEY") -> Buckets:
    return Buckets(
        BucketAccess(
            endpoint=endpoint, access_key_id=key, secret_access_key="secret-of-it"
        )
    )


async def test_an_object_is_read_in_the_version_that_is_meant(endpoint: str) -> None:
    store = _buckets(endpoint)

    assert await read(store) == b"first"
    assert await read(store, version="v2") == b"second"


@pytest.mark.parametrize(
    ("key", "name", "code"),
    [("KEY", "none.zip", "NoSuchKey"), ("OTHER", "app.zip", "AccessDenied")],
)
async def test_the_stores_own_words_are_passed_on(
    endpoint: str, key: str, name: str, code: str
) -> None:
    with pytest.raises(
        InvalidParameter,
        match=rf"Error occurred while GetObject\. S3 Error Code: {code}",
    ):
        await read(_buckets(endpoint, key=key), name)


async def test_what_is_too_large_is_not_read(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_ZIPPED", 4)

    with pytest.raises(TooLarge, match=r"smaller than 4 bytes; this package has 5"):
        await read(_buckets(endpoint))


async def test_what_there_is_no_room_for_is_not_read(endpoint: str) -> None:
    def full(size: int) -> None:
        raise Throttled(
            f"{size} more", reason="TooManyRequests", limit=4, retry_after_s=1.0
        )

    with pytest.raises(Throttled, match="5 more"):
        await read(_buckets(endpoint), hold=full)

    assert await asyncio.to_thread(Store.left.acquire, timeout=WAIT_S)


async def test_of_what_nobody_wants_any_more_no_more_is_read(endpoint: str) -> None:
    reading = asyncio.create_task(read(_buckets(endpoint), "large.zip"))
    assert await asyncio.to_thread(Store.underway.acquire, timeout=WAIT_S)

    reading.cancel()

    assert await asyncio.to_thread(Store.cut.acquire, timeout=WAIT_S)


async def test_a_store_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable, match=r"did not give s3://packages/app\.zip"):
        await read(_buckets("http://127.0.0.1:1"))


async def test_without_a_store_it_is_said_how_to_have_one() -> None:
    with pytest.raises(InvalidParameter, match="--s3-endpoint URL"):
        await read(Buckets(None))


async def test_who_gives_up_lets_nobody_else_fetch(endpoint: str) -> None:
    """What it has begun goes on: else all threads, and their packages, were its."""
    store = _buckets(endpoint)
    Store.go.clear()
    for _ in range(buckets.AT_ONCE):
        impatient = asyncio.create_task(read(store))
        await asyncio.to_thread(Store.begun.acquire)
        impatient.cancel()
        await asyncio.wait({impatient})

    patient = asyncio.create_task(read(store))
    has_begun = await asyncio.to_thread(Store.begun.acquire, timeout=0.2)
    Store.go.set()

    assert not has_begun
    assert await patient == b"first"


async def test_tenants_have_turns_and_begin_nothing_before(endpoint: str) -> None:
    """Else one that asks for hundreds keeps all others waiting for longer than anybody
    does, and has as many clients of the store's in memory."""
    store = _buckets(endpoint)
    Store.go.clear()
    many = [asyncio.create_task(read(store)) for _ in range(3)]
    await asyncio.to_thread(Store.begun.acquire)
    has_another = await asyncio.to_thread(Store.begun.acquire, timeout=0.2)

    of_another = asyncio.create_task(read(store, tenant_id="globex"))
    has_begun = await asyncio.to_thread(Store.begun.acquire, timeout=WAIT_S)
    Store.go.set()

    assert not has_another
    assert has_begun
    assert await asyncio.gather(of_another, *many) == [b"first"] * 4


async def test_only_so_many_of_one_tenant_wait(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "WAITING", 1)
    store = _buckets(endpoint)
    Store.go.clear()
    two = [asyncio.create_task(read(store)) for _ in range(2)]
    await asyncio.to_thread(Store.begun.acquire)

    with pytest.raises(Throttled, match="2 wait or run already"):
        await read(store)
    Store.go.set()

    assert await asyncio.gather(*two) == [b"first"] * 2
