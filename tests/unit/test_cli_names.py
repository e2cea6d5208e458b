"""How functions, their versions and aliases are named on the command line."""

import pytest

from tests.fakes.engine import Engine
from tests.unit.conftest import Cli


@pytest.mark.parametrize(
    "command",
    [
        ("logs", "hello:live"),
        ("runs", "list", "hello:live"),
        ("event", "list", "hello:live"),
        ("dead-letter", "list", "hello:live"),
        ("dead-letter", "purge", "--function", "hello:live", "--yes"),
        ("fn", "config", "hello:live", "--memory", "256"),
        ("fn", "delete", "hello:live", "--yes"),
        ("alias", "list", "hello:live"),
        ("concurrency", "reserve", "hello:live", "5"),
        ("url", "show", "hello:live"),
        ("trigger", "list", "--function", "hello:live"),
    ],
)
def test_what_is_of_the_whole_function_is_not_looked_for_of_an_alias(
    cli: Cli, engine: Engine, command: tuple[str, ...]
) -> None:
    engine.add_function("hello")

    done = cli(*command)

    assert done.exit_code == 2
    assert "this is of the whole function: hello" in done.stderr
    assert not engine.requests


@pytest.mark.parametrize("command", [("set", "hello:live", "1"), ("rm", "hello:live")])
def test_a_function_and_its_alias_are_two_words_where_both_are_wanted(
    cli: Cli, engine: Engine, command: tuple[str, ...]
) -> None:
    done = cli("alias", *command)

    assert done.exit_code == 2
    assert "function and alias are two words here: hello live" in done.stderr
    assert not engine.requests


def test_an_arn_is_told_as_one_wherever_a_name_is_wanted(cli: Cli) -> None:
    done = cli("logs", "arn:aws:lambda:us-east-1:000000000001:function:hello")

    assert done.exit_code == 2
    assert "not its ARN" in done.stderr


def test_an_alias_gets_an_address_under_its_name_as_it_is_invoked(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")

    cli("url", "add", "hello:live")
    there = list(engine.urls)
    cli("url", "rm", "hello:live", "--yes")

    assert there == [("hello", "live")]
    assert not engine.urls


def test_two_aliases_for_one_address_are_refused(cli: Cli, engine: Engine) -> None:
    done = cli("url", "add", "hello:live", "--alias", "next")

    assert done.exit_code == 2
    assert "say one of them" in done.stderr
    assert not engine.urls
