"""Packages out of an S3-compatible store: a small one of our own, over real HTTP."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from sandlot_engine.errors import InvalidParameter, TooLarge, Unavailable
from sandlot_engine.gateway.aws import buckets
from sandlot_engine.gateway.aws.buckets import BucketAccess, Buckets

OBJECTS = {("/packages/app.zip", ""): b"first", ("/packages/app.zip", "v2"): b"second"}


class Store(BaseHTTPRequestHandler):
    """GetObject and its refusals, for whoever signs."""

    begun = threading.Semaphore(0)
    go = threading.Event()

    def do_GET(self) -> None:
        self.begun.release()
        self.go.wait()
        asked = urlsplit(self.path)
        version = parse_qs(asked.query).get("versionId", [""])[0]
        if "Credential=KEY/" not in self.headers.get("Authorization", ""):
            self._answer(403, _refusal("AccessDenied", "Access Denied"))
        elif (found := OBJECTS.get((asked.path, version))) is not None:
            self._answer(200, found)
        else:
            self._answer(
                404, _refusal("NoSuchKey", "The specified key does not exist.")
            )

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _refusal(code: str, message: str) -> bytes:
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code>"
        f"<Message>{message}</Message></Error>"
    ).encode()


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Store.begun, Store.go = threading.Semaphore(0), threading.Event()
    Store.go.set()
    yield f"http://127.0.0.1:{server.server_port}"
    Store.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def _buckets(endpoint: str, *, key: str = "KEY") -> Buckets:
    return Buckets(
        BucketAccess(
            endpoint=endpoint, access_key_id=key, secret_access_key="secret-of-it"
        )
    )


async def test_an_object_is_read_in_the_version_that_is_meant(endpoint: str) -> None:
    store = _buckets(endpoint)

    assert await store.read("packages", "app.zip") == b"first"
    assert await store.read("packages", "app.zip", "v2") == b"second"


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
        await _buckets(endpoint, key=key).read("packages", name)


async def test_what_is_too_large_is_not_read(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_ZIPPED", 4)

    with pytest.raises(TooLarge, match=r"5 bytes of 4 allowed.* as layers"):
        await _buckets(endpoint).read("packages", "app.zip")


async def test_a_store_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable, match=r"did not give s3://packages/app\.zip"):
        await _buckets("http://127.0.0.1:1").read("packages", "app.zip")


async def test_without_a_store_it_is_said_how_to_have_one() -> None:
    with pytest.raises(InvalidParameter, match="--s3-endpoint URL"):
        await Buckets(None).read("packages", "app.zip")


async def test_who_gives_up_lets_nobody_else_fetch(endpoint: str) -> None:
    """What it has begun goes on: else all threads, and their packages, were its."""
    store = _buckets(endpoint)
    Store.go.clear()
    for _ in range(buckets.AT_ONCE):
        impatient = asyncio.create_task(store.read("packages", "app.zip"))
        await asyncio.to_thread(Store.begun.acquire)
        impatient.cancel()
        await asyncio.wait({impatient})

    patient = asyncio.create_task(store.read("packages", "app.zip"))
    has_begun = await asyncio.to_thread(Store.begun.acquire, timeout=0.2)
    Store.go.set()

    assert not has_begun
    assert await patient == b"first"
