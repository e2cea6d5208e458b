"""Who signed a webhook's request, in four senders' ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.model.trigger import Scheme
from sandlot_engine.triggers.signatures import (
    TOLERANCE_S,
    NotSigned,
    check_signature,
)
from tests.fakes.hooks import BODY, NOW_S, SECRET, mac, signed


def check(scheme: Scheme, headers: dict[str, str], body: bytes = BODY) -> str:
    return check_signature(scheme, SECRET, headers, body, now_s=NOW_S)


def test_githubs_own_example_is_right() -> None:
    # From GitHub's documentation.
    headers = {
        "x-hub-signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }

    assert check(Scheme.GITHUB, headers)


def test_slacks_own_example_is_right() -> None:
    # From Slack's documentation.
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA"
        b"&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J"
        b"%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0="
        "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }

    assert check_signature(
        Scheme.SLACK,
        b"8f742231b10e8888abcd99yyyzzz85a5",
        headers,
        body,
        now_s=1531420618 + 10,
    )


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_request_that_is_signed_has_a_name_that_is_its_own(scheme: Scheme) -> None:
    name = check(scheme, signed(scheme))

    assert check(scheme, signed(scheme)) == name
    assert check(scheme, signed(scheme, b"other"), b"other") != name


@pytest.mark.parametrize("scheme", list(Scheme))
def test_another_body_secret_or_no_signature_is_refused(scheme: Scheme) -> None:
    good = signed(scheme)
    for headers, body in (
        (good, BODY + b" "),
        (signed(scheme, secret=b"another secret, as long"), BODY),
        ({}, BODY),
        (dict.fromkeys(good, ""), BODY),
        ({name: value[:-1] for name, value in good.items()}, BODY),
        ({name: "é" + value for name, value in good.items()}, BODY),
    ):
        with pytest.raises(NotSigned):
            check(scheme, headers, body)


@pytest.mark.parametrize("scheme", [Scheme.GENERIC, Scheme.STRIPE, Scheme.SLACK])
def test_a_time_that_is_signed_is_close(scheme: Scheme) -> None:
    for at in (NOW_S - TOLERANCE_S, NOW_S + TOLERANCE_S):
        assert check(scheme, signed(scheme, at=at))
    for at in (NOW_S - TOLERANCE_S - 1, NOW_S + TOLERANCE_S + 1, 10.0**12):
        with pytest.raises(NotSigned):
            check(scheme, signed(scheme, at=at))


def test_stripes_old_and_new_secret_may_sign_together() -> None:
    time = str(int(NOW_S))
    good = mac(f"{time}.".encode() + BODY)

    assert check(
        Scheme.STRIPE, {"stripe-signature": f"t={time},v1={'0' * 64},v1={good}"}
    )
    # Not the right one at the end of a list without end.
    many = ",".join([f"v1={'0' * 64}"] * 8)
    with pytest.raises(NotSigned):
        check(Scheme.STRIPE, {"stripe-signature": f"t={time},{many},v1={good}"})
    with pytest.raises(NotSigned):
        check(Scheme.STRIPE, {"stripe-signature": f"t={time},t=1,v1={good}"})


@pytest.mark.parametrize("version", ["v0=", "v2=", "=", ""])
def test_a_signature_of_another_version_of_stripes_is_none(version: str) -> None:
    time = str(int(NOW_S))
    good = mac(f"{time}.".encode() + BODY)

    with pytest.raises(NotSigned):
        check(Scheme.STRIPE, {"stripe-signature": f"t={time},{version}{good}"})


@pytest.mark.parametrize("version", ["v1=", "v2=", "=", ""])
def test_a_signature_of_another_version_of_slacks_is_none(version: str) -> None:
    time = str(int(NOW_S))
    good = mac(f"v0:{time}:".encode() + BODY)

    with pytest.raises(NotSigned):
        check(
            Scheme.SLACK,
            {"x-slack-request-timestamp": time, "x-slack-signature": version + good},
        )


def test_one_of_githubs_redeliveries_is_a_request_of_its_own() -> None:
    first = signed(Scheme.GITHUB)
    second = first | {"x-github-delivery": "another"}

    assert check(Scheme.GITHUB, first) != check(Scheme.GITHUB, second)


@given(
    st.sampled_from(list(Scheme)),
    st.dictionaries(
        st.sampled_from(
            [
                *("x-signature-256", "x-signature-timestamp", "x-hub-signature-256"),
                *("stripe-signature", "x-slack-signature"),
                "x-slack-request-timestamp",
            ]
        ),
        st.text(max_size=80) | st.just(str(int(NOW_S))),
    ),
    st.binary(max_size=50),
)
def test_whatever_is_sent_it_is_refused_and_nothing_else(
    scheme: Scheme, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(NotSigned):
        check(scheme, headers, body)
