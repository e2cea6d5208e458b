"""What browsers are told."""

import pytest

from sandlot_engine.gateway.urls.cors import apply, is_preflight, preflight
from sandlot_engine.model.url import Cors

ORIGIN = b"https://a.test"
ASKS = {
    b"origin": ORIGIN,
    b"access-control-request-method": b"PUT",
    b"access-control-request-headers": b"x-one",
}
OURS = Cors(
    allow_origins=("https://a.test", "https://b.test"),
    allow_methods=("GET", "PUT"),
    allow_headers=("X-One", "X-Two"),
    expose_headers=("X-Seen",),
    allow_credentials=True,
    max_age_s=60,
)
ANY = Cors(allow_origins=("*",), allow_methods=("*",), allow_headers=("*",))


def test_a_preflight_says_all_that_is_allowed() -> None:
    answer = preflight(OURS, ASKS)

    assert (answer.status, answer.body) == (200, b"")
    assert dict(answer.headers) == {
        b"access-control-allow-origin": ORIGIN,
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"GET,PUT",
        b"access-control-allow-headers": b"X-One,X-Two",
        b"access-control-max-age": b"60",
        b"vary": b"Origin",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {b"origin": b"https://c.test"},
        {b"origin": b"https://a.test.evil.test"},
        {b"origin": b"null"},
        {b"access-control-request-method": b"DELETE"},
    ],
)
def test_a_preflight_that_is_not_allowed_is_told_nothing(
    changed: dict[bytes, bytes],
) -> None:
    assert preflight(OURS, ASKS | changed).headers == [(b"vary", b"Origin")]


def test_where_anything_goes_it_is_named() -> None:
    assert dict(preflight(ANY, ASKS).headers) == {
        b"access-control-allow-origin": b"*",
        b"access-control-allow-methods": b"PUT",
        b"access-control-allow-headers": b"x-one",
    }


def test_no_origin_has_credentials_by_a_star() -> None:
    anyone = Cors(allow_origins=("*",), allow_credentials=True)

    headers = dict(apply(anyone, {b"origin": ORIGIN}, []))

    assert headers == {b"access-control-allow-origin": b"*"}


def test_what_is_set_replaces_what_the_function_says() -> None:
    answer = [(b"access-control-allow-origin", b"*"), (b"x", b"y")]

    allowed = apply(OURS, {b"origin": ORIGIN}, answer)
    other = apply(OURS, {b"origin": b"https://c.test"}, answer)
    nobody = apply(OURS, {}, answer)

    assert allowed == [
        (b"x", b"y"),
        (b"access-control-allow-origin", ORIGIN),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"X-Seen"),
        (b"vary", b"Origin"),
    ]
    assert other == nobody == [(b"x", b"y"), (b"vary", b"Origin")]
    assert apply(None, {b"origin": ORIGIN}, answer) == answer


def test_only_options_of_a_browser_is_a_preflight() -> None:
    assert is_preflight("OPTIONS", ASKS)
    assert not is_preflight("OPTIONS", {b"origin": ORIGIN})
    assert not is_preflight("GET", ASKS)
