"""`sandlot concurrency`: what functions have of it, and what is started ahead."""

import json

import grpc
import pytest

from tests.fakes.engine import Engine, Refusal
from tests.unit.conftest import Cli


@pytest.fixture
def published(cli: Cli, engine: Engine) -> Cli:
    """With version 1 of `hello`, and the alias `live` of it."""
    engine.add_function("hello")
    assert cli("fn", "publish", "hello").exit_code == 0
    assert cli("alias", "set", "hello", "live", "1").exit_code == 0
    return cli


def rows(text: str) -> dict[str, str]:
    """Of what is shown of one thing, by their names."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def test_reserve_shows_what_is_left_to_others(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("concurrency", "reserve", "hello", "30")
    off = cli("concurrency", "reserve", "hello", "0")
    shown = rows(cli("concurrency", "show").stdout)

    assert rows(done.stdout) == {
        "function": "hello",
        "reserved": "30",
        "unreserved": "970",
        "limit": "1000",
    }
    assert done.stderr == ""
    assert "hello is switched off" in off.stderr
    assert shown == {
        "limit": "1000",
        "unreserved": "1000",
        "reserved": "hello=0",
        "provisioned": "-",
    }


def test_unreserve_gives_it_back(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    cli("concurrency", "reserve", "hello", "30")

    told = json.loads(cli("concurrency", "unreserve", "hello", "--json").stdout)

    assert (told["reserved"], told["unreserved"]) == (None, 1_000)


def test_provision_waits_and_shows_what_there_is(
    published: Cli, engine: Engine
) -> None:
    engine.polls_until_ready = 2

    done = published("concurrency", "provision", "hello:live", "4")

    shown = rows(done.stdout)
    assert done.exit_code == 0
    assert (shown["qualifier"], shown["available"], shown["status"]) == (
        "live",
        "4",
        "READY",
    )


def test_provision_exits_1_where_not_all_could_be_started(
    published: Cli, engine: Engine
) -> None:
    engine.room = 3

    done = published("concurrency", "provision", "hello:1", "4", "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["status"] == "FAILED"
    assert "3 of 4 instances" in done.stderr
    assert "next: see whether it starts: sandlot invoke hello:1 '{}'" in done.stderr


def test_show_of_a_function_has_all_of_it(published: Cli) -> None:
    published("concurrency", "reserve", "hello", "30")
    published("concurrency", "provision", "hello:live", "4")

    shown = published("concurrency", "show", "hello").stdout
    told = json.loads(published("concurrency", "show", "hello", "--json").stdout)

    assert rows(shown)["reserved"] == "30"
    assert shown.splitlines()[-1].split() == ["live", "4", "4", "4", "READY", "-"]
    assert (told["function"], told["reserved"], told["limit"]) == ("hello", 30, 1_000)
    assert [one["qualifier"] for one in told["provisioned"]] == ["live"]


def test_unprovision_is_for_what_is_provisioned(published: Cli, engine: Engine) -> None:
    published("concurrency", "provision", "hello:live", "4")

    done = published("concurrency", "unprovision", "hello:live")
    again = published("concurrency", "unprovision", "hello:live")

    assert (done.exit_code, again.exit_code) == (0, 3)
    assert engine.provisioned == {}


@pytest.mark.parametrize(
    "words",
    [
        ("reserve", "hello", "-1"),
        ("reserve", "hello", "many"),
        ("reserve", "hello", str(2**31)),
        ("reserve", "hello"),
        ("provision", "hello", "1"),
        ("provision", "hello:", "1"),
        ("unprovision", "hello"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    cli: Cli, engine: Engine, words: tuple[str, ...]
) -> None:
    assert cli("concurrency", *words).exit_code == 2
    assert engine.requests == []


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (
            "Specified ReservedConcurrentExecutions for function decreases account's",
            "sandlot concurrency show",
        ),
        (
            "Specified ConcurrentExecutions for function is greater than account's",
            "sandlot concurrency show",
        ),
        (
            " ReservedConcurrentExecutions  1 should not be lower than function's",
            "sandlot concurrency show hello",
        ),
        (
            "Requested Provisioned Concurrency should not be greater than the",
            "sandlot concurrency reserve hello COUNT",
        ),
        (
            "Provisioned Concurrency Configs cannot be applied to unpublished",
            "sandlot fn publish hello",
        ),
        (
            "Alias can't be used for Provisioned Concurrency configuration on an",
            "sandlot concurrency show hello",
        ),
        (
            "Version is pointed by a Provisioned Concurrency alias",
            "sandlot concurrency show hello",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_what_awss_words_leave_open_is_said_after_them(
    cli: Cli, engine: Engine, said: str, then: str
) -> None:
    engine.refuse_next.append(
        Refusal(grpc.StatusCode.INVALID_ARGUMENT, "InvalidParameter", said)
    )

    done = cli("concurrency", "provision", "hello:live", "1")

    (line,) = (one for one in done.stderr.splitlines() if "next: " in one)
    assert line.endswith(f": {then}")
