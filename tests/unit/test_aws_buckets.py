"""Packages out of an S3-compatible store."""

import asyncio
from collections.abc import Iterator

import pytest

from sandlot_engine.catalog import packages
from sandlot_engine.errors import InvalidParameter, Throttled, TooLarge, Unavailable
from sandlot_engine.gateway.aws import buckets
from sandlot_engine.gateway.aws.buckets import BucketAccess, Buckets
from tests.fakes.bucket_store import WAIT_S, Store, bucket_store

OBJECTS = {("/packages/app.zip", ""): b"first", ("/packages/app.zip", "v2"): b"second"}


def anything(_: int) -> None:
    """There is room for it."""


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

    assert await store.read("packages", "app.zip", hold=anything) == b"first"
    assert await store.read("packages", "app.zip", "v2", hold=anything) == b"second"


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
        await _buckets(endpoint, key=key).read("packages", name, hold=anything)


async def test_what_is_too_large_is_not_read(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_ZIPPED", 4)

    with pytest.raises(TooLarge, match=r"smaller than 4 bytes; this package has 5"):
        await _buckets(endpoint).read("packages", "app.zip", hold=anything)


async def test_what_there_is_no_room_for_is_not_read(endpoint: str) -> None:
    def full(size: int) -> None:
        raise Throttled(
            f"{size} more", reason="TooManyRequests", limit=4, retry_after_s=1.0
        )

    with pytest.raises(Throttled, match="5 more"):
        await _buckets(endpoint).read("packages", "app.zip", hold=full)

    assert await asyncio.to_thread(Store.left.acquire, timeout=WAIT_S)


async def test_of_what_nobody_wants_any_more_no_more_is_read(endpoint: str) -> None:
    reading = asyncio.create_task(
        _buckets(endpoint).read("packages", "large.zip", hold=anything)
    )
    assert await asyncio.to_thread(Store.underway.acquire, timeout=WAIT_S)

    reading.cancel()

    assert await asyncio.to_thread(Store.cut.acquire, timeout=WAIT_S)


async def test_a_store_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable, match=r"did not give s3://packages/app\.zip"):
        await _buckets("http://127.0.0.1:1").read("packages", "app.zip", hold=anything)


async def test_without_a_store_it_is_said_how_to_have_one() -> None:
    with pytest.raises(InvalidParameter, match="--s3-endpoint URL"):
        await Buckets(None).read("packages", "app.zip", hold=anything)


async def test_who_gives_up_lets_nobody_else_fetch(endpoint: str) -> None:
    """What it has begun goes on: else all threads, and their packages, were its."""
    store = _buckets(endpoint)
    Store.go.clear()
    for _ in range(buckets.AT_ONCE):
        impatient = asyncio.create_task(
            store.read("packages", "app.zip", hold=anything)
        )
        await asyncio.to_thread(Store.begun.acquire)
        impatient.cancel()
        await asyncio.wait({impatient})

    patient = asyncio.create_task(store.read("packages", "app.zip", hold=anything))
    has_begun = await asyncio.to_thread(Store.begun.acquire, timeout=0.2)
    Store.go.set()

    assert not has_begun
    assert await patient == b"first"
