"""`sandlot url`: addresses that one can click."""

import json

import pytest

from sandlot import errors
from sandlot.v1 import urls_pb2 as urls
from tests.fakes.engine import Engine
from tests.unit.conftest import Cli

ADDRESS = "http://engine.test/url/hello/"


def test_add_prints_the_address_alone_on_stdout(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("url", "add", "hello")

    assert (done.exit_code, done.stdout) == (0, ADDRESS + "\n")
    assert "anybody who can reach it" in done.stderr
    assert engine.urls["hello", ""].auth == urls.URL_AUTH_NONE
    assert not engine.urls["hello", ""].HasField("cors")


def test_add_says_all_that_can_be_said(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli(
        *("url", "add", "hello", "--alias", "live", "--auth", "iam", "--stream"),
        *("--cors-origin", "https://a.test", "--cors-origin", "https://b.test"),
        *("--cors-method", "GET", "--cors-header", "x-one", "--cors-credentials"),
        "--json",
    )

    made = engine.urls["hello", "live"]
    assert made.auth == urls.URL_AUTH_IAM
    assert made.streamed
    assert made.cors == urls.UrlCors(
        allow_origins=["https://a.test", "https://b.test"],
        allow_methods=["GET"],
        allow_headers=["x-one"],
        allow_credentials=True,
    )
    shown = json.loads(done.stdout)
    assert (shown["auth"], shown["alias"], shown["stream"]) == ("iam", "live", True)
    assert shown["cors"]["origins"] == ["https://a.test", "https://b.test"]


def test_of_a_version_it_is_said_that_it_has_no_address(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")

    done = cli("url", "add", "hello:3")

    assert done.exit_code == 2
    assert "`sandlot alias set hello ALIAS 3`" in done.stderr


def test_an_alias_that_is_not_there_is_not_a_function_that_is_not_there(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise errors.NotFound("Function does not exist", request_id="r-1")

    engine.add_function("hello")
    monkeypatch.setattr("sandlot.Client.put_url", refuse)

    done = cli("url", "add", "hello:live")

    assert done.exit_code == 3
    assert "hello has no alias live" in done.stderr
    assert "sandlot alias set hello live VERSION" in done.stderr
    assert "r-1" in done.stderr


def test_cors_wants_an_origin(cli: Cli, engine: Engine) -> None:
    done = cli("url", "add", "hello", "--cors-credentials")

    assert done.exit_code == 2
    assert "--cors-origin" in done.stderr
    assert engine.urls == {}


def test_what_is_not_said_of_an_address_stays_as_it_is(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")
    cli("url", "add", "hello", "--auth", "iam", "--stream", "--cors-origin", "*")
    first = urls.Url.FromString(engine.urls["hello", ""].SerializeToString())

    cli("url", "add", "hello")
    same = engine.urls["hello", ""]
    cli("url", "add", "hello", "--cors-method", "GET", "--cors-credentials")
    more = engine.urls["hello", ""]
    cli("url", "add", "hello", "--auth", "none", "--no-stream", "--no-cors")
    none = engine.urls["hello", ""]

    assert same == first
    assert (more.auth, more.streamed) == (urls.URL_AUTH_IAM, True)
    assert more.cors == urls.UrlCors(
        allow_origins=["*"], allow_methods=["GET"], allow_credentials=True
    )
    assert (none.auth, none.streamed) == (urls.URL_AUTH_NONE, False)
    assert not none.HasField("cors")


def test_what_an_alias_has_is_not_the_function_s(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    cli("url", "add", "hello", "--auth", "iam", "--cors-origin", "*")

    cli("url", "add", "hello", "--alias", "live")

    assert engine.urls["hello", "live"].auth == urls.URL_AUTH_NONE
    assert not engine.urls["hello", "live"].HasField("cors")


def test_cors_is_not_both_set_and_taken_away(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("url", "add", "hello", "--no-cors", "--cors-origin", "*")

    assert (done.exit_code, engine.requests) == (2, [])


def test_show_lists_them_and_rm_takes_one_away(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    for alias in ("", "live", "next"):
        cli("url", "add", "hello", "--alias", alias)

    shown = cli("url", "show", "hello")
    removed = cli("url", "rm", "hello", "--yes")
    again = cli("url", "rm", "hello", "--yes")

    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        "-",
        "live",
        "next",
    ]
    assert (removed.exit_code, again.exit_code) == (0, 3)
    assert set(engine.urls) == {("hello", "live"), ("hello", "next")}


def test_list_has_those_of_all_functions(cli: Cli, engine: Engine) -> None:
    for function in ("hello", "other"):
        engine.add_function(function)
        cli("url", "add", function)

    listed = cli("url", "list")
    as_json = json.loads(cli("url", "ls", "--json").stdout)

    assert [line.split()[0] for line in listed.stdout.splitlines()] == [
        "FUNCTION",
        "hello",
        "other",
    ]
    assert [each["function"] for each in as_json] == ["hello", "other"]


def test_rm_asks_first(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    cli("url", "add", "hello")

    assert cli("url", "rm", "hello").exit_code == 2
    assert ("hello", "") in engine.urls
