"""Which function URL a request is for, and what it is called."""

import pytest

from sandlot_engine.gateway.urls.addresses import (
    Addressed,
    Addresses,
    addressed,
    is_public_url,
)

ID = "abcdefghijklmnopqrstuvwxyz234567"


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        (b"127.0.0.1:9070", f"/url/{ID}/a/b", Addressed(ID, b"/a/b")),
        (b"127.0.0.1:9070", f"/url/{ID}", Addressed(ID, b"/")),
        (b"127.0.0.1:9070", f"/url/{ID}/pa2%2Fth//1", Addressed(ID, b"/pa2%2Fth//1")),
        (b"", "/url/", Addressed("", b"/")),
        (
            f"{ID}.lambda-url.eu-west-1.localhost:9070".encode(),
            "/a",
            Addressed(ID, b"/a"),
        ),
        (f"{ID}.LAMBDA-URL.x.on.aws".upper().encode(), "/", Addressed(ID, b"/")),
        (b"127.0.0.1:9070", "/healthz", None),
        (b"127.0.0.1:9070", "/urls/x", None),
        (b"lambda.eu-west-1.localhost", "/a", None),
    ],
)
def test_a_request_is_for_a_url_by_its_path_or_its_host(
    host: bytes, path: str, found: Addressed | None
) -> None:
    assert addressed(host, path.encode()) == found


def test_under_the_host_name_of_a_url_there_is_nothing_else() -> None:
    host = b"nobodys.lambda-url.eu-west-1.localhost"
    path = b"/2015-03-31/functions/f/invocations"

    assert addressed(host, path) == Addressed("nobodys", path)


def test_a_url_is_where_the_caller_found_the_port() -> None:
    addresses = Addresses("", region="eu-west-1")
    addresses.note_served_at("0.0.0.0", 9070)  # noqa: S104 - read, not bound

    assert addresses.of(ID, reached_at="http://box:80") == f"http://box:80/url/{ID}/"
    assert addresses.of(ID) == f"http://127.0.0.1:9070/url/{ID}/"
    assert addresses.scheme_and_port is None


@pytest.mark.parametrize(
    ("public", "shown", "seen"),
    [
        ("https://f.test", f"https://f.test/url/{ID}/", ("https", 443)),
        ("http://f.test:81/api/", f"http://f.test:81/api/url/{ID}/", ("http", 81)),
        (
            "https://*.f.test:8443",
            f"https://{ID}.lambda-url.eu-west-1.f.test:8443/",
            ("https", 8443),
        ),
    ],
)
def test_a_public_url_is_what_others_are_told(
    public: str, shown: str, seen: tuple[str, int]
) -> None:
    addresses = Addresses(public, region="eu-west-1")
    addresses.note_served_at("127.0.0.1", 9070)

    assert is_public_url(public)
    assert addresses.of(ID, reached_at="http://127.0.0.1:9070") == shown
    assert addresses.scheme_and_port == seen


@pytest.mark.parametrize(
    "text", ["f.test", "ftp://f.test", "https://*.*.test", "https://a b", "https://"]
)
def test_what_is_no_public_url_is_told(text: str) -> None:
    assert not is_public_url(text)
