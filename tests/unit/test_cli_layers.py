"""`sandlot layer`, and functions that have some."""

import json
from pathlib import Path

import pytest

from tests.fakes.engine import Engine
from tests.unit.conftest import Cli

ARN = "arn:aws:lambda:us-east-1:000000000001:layer:deps"


@pytest.fixture
def deps(tmp_path: Path) -> Path:
    folder = tmp_path / "deps"
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "deps.py").write_text("ANSWER = 42")
    return folder


def test_publish_prints_the_arn_alone_on_stdout(cli: Cli, deps: Path) -> None:
    first = cli("layer", "publish", str(deps))
    told = json.loads(cli("layer", "publish", str(deps), "--json").stdout)

    assert (first.exit_code, first.stdout) == (0, f"{ARN}:1\n")
    assert "sandlot fn config FUNCTION --layer deps:1\n" in first.stderr
    assert "nothing in it" not in first.stderr
    assert (told["name"], told["version"]) == ("deps", 2)


def test_what_no_runtime_looks_into_is_told(cli: Cli, deps: Path) -> None:
    inside = cli("layer", "publish", str(deps / "python"), "--name", "deps")

    assert inside.exit_code == 0
    assert "that is python/ and nodejs/node_modules/" in inside.stderr


def test_layers_and_their_versions_are_listed(cli: Cli, deps: Path) -> None:
    for _ in range(2):
        cli("layer", "publish", str(deps), "--runtime", "python3.11")

    (head, row) = cli("layer", "list").stdout.splitlines()
    versions = json.loads(cli("layer", "versions", "deps", "--json").stdout)

    assert head.split()[:2] == ["NAME", "VERSION"]
    assert row.split()[:2] == ["deps", "2"]
    assert [one["version"] for one in versions] == [2, 1]


def test_delete_asks_first_and_takes_one_version(cli: Cli, deps: Path) -> None:
    for _ in range(2):
        cli("layer", "publish", str(deps))

    asked = cli("layer", "delete", "deps:1")
    done = cli("layer", "delete", "deps:1", "--yes")
    again = cli("layer", "delete", "deps:1", "--yes")

    assert (asked.exit_code, done.exit_code, again.exit_code) == (2, 0, 3)
    assert again.stderr.rstrip().endswith("sandlot layer versions deps")
    versions = json.loads(cli("layer", "versions", "deps", "--json").stdout)
    assert [one["version"] for one in versions] == [2]


@pytest.mark.parametrize("called", ["deps", "deps:", "deps:x", ":1", f"deps:{10**20}"])
def test_what_is_no_version_is_refused_before_anything_is_asked(
    cli: Cli, engine: Engine, called: str
) -> None:
    assert cli("layer", "delete", called, "--yes").exit_code == 2
    assert engine.requests == []


def test_a_layer_that_is_not_there_says_where_to_look(cli: Cli) -> None:
    done = cli("layer", "versions", "nothing")

    assert done.exit_code == 3
    assert done.stderr.rstrip().endswith("see which there are: sandlot layer list")


def test_what_names_no_version_is_not_made_an_arn(
    cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text("def handler(event, context): ...")
    cli("deploy", str(tmp_path / "hello.py"))

    cli("deploy", str(tmp_path / "hello.py"), "--layer", "deps")

    (change,) = (one for one in engine.requests if hasattr(one, "layers"))
    assert list(change.layers.words) == ["deps"]


def test_a_function_gets_layers_and_loses_them(
    cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text("def handler(event, context): ...")
    layers = ("--layer", "deps:1", "--layer", "more:2")
    cli("deploy", str(tmp_path / "hello.py"), *layers)
    config = engine.functions["000000000001", "hello"].config
    first = list(config.layers)

    kept = json.loads(cli("fn", "config", "hello", "--json").stdout)["layers"]
    none = json.loads(cli("fn", "config", "hello", "--layer", "", "--json").stdout)

    assert first == [f"{ARN}:1", f"{ARN.replace('deps', 'more')}:2"]
    assert kept == first
    assert none["layers"] == []
