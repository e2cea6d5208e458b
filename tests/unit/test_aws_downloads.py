"""Links to packages: what they open, and for how long."""

from urllib.parse import urlsplit

import pytest

from sandlot_engine.gateway.aws.downloads import VALID_S, Downloads
from tests.fakes.runner import FakeClock

ONE, OTHER = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("later_s", "opens"), [(0, ONE), (VALID_S, ONE), (VALID_S + 1, "")]
)
def test_a_link_opens_its_own_package_for_ten_minutes(
    later_s: float, opens: str
) -> None:
    clock = FakeClock()
    downloads = Downloads(clock)
    link = urlsplit(downloads.url("http://engine", ONE))

    clock.advance(later_s)

    assert downloads.granted(link.path, link.query) == opens


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ONE, OTHER),
        ("Expires=", "Expires=9"),
        ("Signature=", "Signature=0"),
        ("Signature=", "Other="),
        ("?", "?Expires=1&"),
        (".zip", ".txt"),
        ("?", "?" + "a=1&" * 9),
    ],
)
def test_a_link_that_was_changed_opens_nothing(old: str, new: str) -> None:
    downloads = Downloads(FakeClock())
    link = urlsplit(downloads.url("http://engine", ONE).replace(old, new))

    assert downloads.granted(link.path, link.query) == ""


def test_a_link_of_an_engine_that_has_ended_opens_nothing() -> None:
    clock = FakeClock()
    link = urlsplit(Downloads(clock).url("http://engine", ONE))

    assert Downloads(clock).granted(link.path, link.query) == ""
