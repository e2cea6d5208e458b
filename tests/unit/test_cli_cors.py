"""Origins that `sandlot url add` is told, of which no browser sends most mistakes."""

import pytest

from tests.fakes.engine import Engine
from tests.unit.conftest import Cli


@pytest.mark.parametrize(
    "origin",
    ["localhost:3000", "example.org", "https://example.org/", "https://*.example.org"],
)
def test_what_no_browser_sends_is_refused(
    cli: Cli, engine: Engine, origin: str
) -> None:
    engine.add_function("hello")

    done = cli("url", "add", "hello", "--cors-origin", origin)

    assert done.exit_code == 2
    assert "no origin that a browser sends" in done.stderr
    assert not engine.urls


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://a.test", "http://localhost:3000", "capacitor://localhost"],
)
def test_what_browsers_and_apps_send_is_taken(
    cli: Cli, engine: Engine, origin: str
) -> None:
    engine.add_function("hello")

    assert cli("url", "add", "hello", "--cors-origin", origin).exit_code == 0
    assert list(engine.urls["hello", ""].cors.allow_origins) == [origin]


def test_cookies_for_everybody_are_told_as_none(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    everybody = ("url", "add", "hello", "--cors-origin", "*")

    assert "no cookies" in cli(*everybody, "--cors-credentials").stderr
    assert "no cookies" not in cli(*everybody, "--no-cors-credentials").stderr
