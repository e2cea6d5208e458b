"""Links to packages: who has one may read that package, for ten minutes."""

from urllib.parse import urlsplit

import pytest

from sandlot_engine.gateway.aws.downloads import VALID_S, Downloads
from tests.fakes.runner import FakeClock

SHA256 = "ab" * 32


def _link(downloads: Downloads) -> tuple[str, str]:
    parts = urlsplit(downloads.url("http://127.0.0.1:9070", SHA256))
    return parts.path, parts.query


def test_a_link_opens_its_package() -> None:
    downloads = Downloads(FakeClock())

    assert downloads.granted(*_link(downloads)) == SHA256


def test_a_link_is_over_after_its_time() -> None:
    clock = FakeClock()
    downloads = Downloads(clock)
    link = _link(downloads)

    clock.advance(VALID_S + 1)

    assert downloads.granted(*link) == ""


def test_a_link_of_another_engine_opens_nothing() -> None:
    link = _link(Downloads(FakeClock()))

    assert Downloads(FakeClock()).granted(*link) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ab", "ac"),
        (".zip", ""),
        ("Expires=", "Expires=9"),
        ("Expires=", "Expires=x"),
        ("Signature=", "Signature=0"),
        ("Signature=", "Signed="),
    ],
)
def test_a_link_that_was_changed_opens_nothing(old: str, new: str) -> None:
    downloads = Downloads(FakeClock())
    path, query = _link(downloads)

    changed = (path.replace(old, new, 1), query.replace(old, new, 1))

    assert changed != (path, query)
    assert downloads.granted(*changed) == ""
