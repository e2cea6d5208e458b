"""`fn publish`, `fn versions`, `alias`: what serves while the next is made."""

import json
from pathlib import Path

import grpc
import pytest

from sandlot.v1 import functions_pb2 as fn
from tests.fakes.engine import OPERATOR_TENANT, Engine, Refusal
from tests.unit.conftest import Cli

HELLO = OPERATOR_TENANT, "hello"


@pytest.fixture
def published(cli: Cli, engine: Engine) -> Cli:
    """With versions 1 and 2 of `hello`."""
    engine.add_function("hello")
    for _ in range(2):
        assert cli("fn", "publish", "hello").exit_code == 0
    return cli


def test_publish_prints_the_number_alone_on_stdout(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.polls_until_ready = 2

    done = cli("fn", "publish", "hello", "--description", "the first")

    assert (done.exit_code, done.stdout) == (0, "1\n")
    assert "sandlot invoke hello:1 '{}'" in done.stderr
    (made,) = engine.versions[HELLO]
    assert made.config.description == "the first"
    assert [request.qualifier for request in engine.requests[1:]] == ["1"] * 3


def test_publish_as_json_is_the_version(published: Cli) -> None:
    told = json.loads(published("fn", "publish", "hello", "--json").stdout)

    assert (told["version"], told["state"]) == ("3", "Active")


def test_a_version_that_cannot_be_made_ready_exits_3(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.next_updates.append((fn.FUNCTION_STATE_FAILED, "its hook raised"))

    done = cli("fn", "publish", "hello")

    assert done.exit_code == 3
    assert "hello:1 could not be made ready: its hook raised" in done.stderr
    assert "next: mend the code" in done.stderr


def test_a_version_that_cannot_be_imported_exits_1(cli: Cli, engine: Engine) -> None:
    function = engine.add_function("hello")
    function.fork_safe, function.fork_safety_reason = False, "the import failed: no"

    done = cli("fn", "publish", "hello")

    assert (done.exit_code, done.stdout) == (1, "1\n")
    assert "hello:1 cannot be imported: no" in done.stderr


def test_versions_are_listed_with_latest(published: Cli) -> None:
    shown = published("fn", "versions", "hello")
    told = json.loads(published("fn", "versions", "hello", "--json").stdout)

    first = [line.split()[0] for line in shown.stdout.splitlines()]
    assert first == ["VERSION", "$LATEST", "1", "2"]
    assert [one["version"] for one in told] == ["$LATEST", "1", "2"]


def test_one_version_is_shown_also_by_an_alias(published: Cli) -> None:
    published("alias", "set", "hello", "live", "2")

    by_number = json.loads(published("fn", "show", "hello:1", "--json").stdout)
    by_alias = json.loads(published("fn", "show", "hello:live", "--json").stdout)

    assert (by_number["version"], by_alias["version"]) == ("1", "2")


def test_one_version_is_deleted_and_the_function_stays(
    published: Cli, engine: Engine
) -> None:
    asked = published("fn", "delete", "hello", "--version", "1")
    done = published("fn", "delete", "hello", "--version", "1", "--yes")

    assert asked.exit_code == 2
    assert "Delete version 1 of hello?" in asked.stderr
    assert (done.exit_code, done.stderr) == (0, "deleted version 1 of hello\n")
    assert [each.version for each in engine.versions[HELLO]] == ["2"]
    assert HELLO in engine.functions


def test_a_version_without_a_number_is_not_the_function(
    published: Cli, engine: Engine
) -> None:
    done = published("fn", "delete", "hello", "--version", "", "--yes")

    assert done.exit_code == 2
    assert HELLO in engine.functions


def test_an_alias_is_set_moved_and_shared_out(published: Cli, engine: Engine) -> None:
    made = published("alias", "set", "hello", "live", "1", "--description", "ours")
    shared = published("alias", "set", "hello", "live", "1", "--weight", "2=0.1")
    weights = dict(engine.aliases["hello", "live"].weights)
    moved = published("alias", "set", "hello", "live", "2")

    arn = "arn:aws:lambda:us-east-1:000000000001:function:hello:live\n"
    assert [one.stdout for one in (made, shared, moved)] == [arn] * 3
    assert "sandlot invoke hello:live '{}'" in made.stderr
    assert "hello:live leads to 1 (90 %), 2 (10 %)" in shared.stderr
    assert weights == {"2": 0.1}
    assert "hello:live leads to 2\n" in moved.stderr
    alias = engine.aliases["hello", "live"]
    assert (alias.version, dict(alias.weights), alias.description) == ("2", {}, "ours")


def test_an_alias_as_json_is_the_alias(published: Cli) -> None:
    told = json.loads(
        published(
            *("alias", "set", "hello", "live", "1", "--weight", "2=0.25", "--json")
        ).stdout
    )

    assert (told["name"], told["version"], told["weights"]) == (
        "live",
        "1",
        {"2": 0.25},
    )


@pytest.mark.parametrize(
    "weights",
    [["2"], ["2=x"], ["2=1.1"], ["2=-0.1"], ["2=nan"], ["2=0.1", "3=0.1"]],
    ids=" ".join,
)
def test_weights_that_cannot_be_are_refused_before_anything_is_asked(
    cli: Cli, engine: Engine, weights: list[str]
) -> None:
    options = [word for weight in weights for word in ("--weight", weight)]

    done = cli("alias", "set", "hello", "live", "1", *options)

    assert done.exit_code == 2
    assert engine.requests == []


def test_aliases_are_listed_and_deleted(published: Cli, engine: Engine) -> None:
    for name, version in (("live", "1"), ("next", "2"), ("old", "1")):
        published("alias", "set", "hello", name, version)

    shown = published("alias", "list", "hello").stdout.splitlines()
    told = json.loads(
        published("alias", "list", "hello", "--version", "1", "--json").stdout
    )
    asked = published("alias", "delete", "hello", "old")
    removed = published("alias", "delete", "hello", "old", "--yes")
    again = published("alias", "delete", "hello", "old", "--yes")

    assert [line.split() for line in shown] == [
        ["ALIAS", "LEADS", "TO", "DESCRIPTION"],
        ["live", "1", "-"],
        ["next", "2", "-"],
        ["old", "1", "-"],
    ]
    assert [one["name"] for one in told] == ["live", "old"]
    assert (asked.exit_code, removed.exit_code, again.exit_code) == (2, 0, 3)
    assert "next: see which aliases there are: sandlot alias list hello" in again.stderr
    assert set(engine.aliases) == {("hello", "live"), ("hello", "next")}


def test_where_the_versions_can_be_seen_is_said(published: Cli) -> None:
    no_version = published("alias", "set", "hello", "live", "7")
    no_alias = published("fn", "show", "hello:nobody")

    assert no_version.exit_code == 3
    assert "next: see which versions there are: sandlot fn versions hello" in (
        no_version.stderr
    )
    assert "sandlot alias list hello" in no_alias.stderr


def test_what_keeps_a_version_is_said(published: Cli, engine: Engine) -> None:
    engine.refuse_next.append(
        Refusal(
            grpc.StatusCode.ABORTED,
            "ResourceConflict",
            "Unable to delete version because the following aliases reference it: "
            "[live]",
        )
    )

    done = published("fn", "delete", "hello", "--version", "1", "--yes")

    assert done.exit_code == 3
    assert "[live]" in done.stderr
    assert "sandlot alias set" in done.stderr


def test_deploy_publishes_what_it_has_deployed(
    cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    source = tmp_path / "hello.py"
    source.write_text("def handler(event, context): return event\n")

    done = cli("deploy", str(source), "--publish")
    told = json.loads(cli("deploy", str(source), "--publish", "--json").stdout)

    assert done.exit_code == 0
    assert done.stdout.endswith(":function:hello:1\n")
    assert "sandlot invoke hello:1 '{}'" in done.stderr
    assert told["version"] == "2"
    assert engine.requests[-2].revision_id == engine.functions[HELLO].revision_id


def test_deploy_does_not_publish_what_cannot_be_imported(
    cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    source = tmp_path / "hello.py"
    source.write_text("def handler(event, context): return event\n")
    cli("deploy", str(source))
    function = engine.functions[HELLO]
    function.fork_safe, function.fork_safety_reason = False, "the import failed: no"

    done = cli("deploy", str(source), "--publish")

    assert done.exit_code == 1
    assert "no version of it was published" in done.stderr
    assert engine.versions[HELLO] == []
