"""The AWS CLI and SAM, as they are installed from PyPI."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients import ROLE, RUNTIME, Account, package, saying, unique
from tests.compat.commands import Terminal, needs_clients, terminal_of
from tests.compat.conftest import Create

pytestmark = needs_clients

ECHO = package(
    "def handler(event, context):\n    print('was called')\n    return {'echo': event}"
)


@pytest.fixture
def terminal(account: Account, tmp_path: Path) -> Iterator[Terminal]:
    with terminal_of(account, tmp_path) as terminal:
        yield terminal
        assert not terminal.has_called_elsewhere


def test_the_aws_cli_takes_a_function_through_its_life(
    terminal: Terminal, account: Account
) -> None:
    name = unique("cli")
    which = ("--function-name", name)
    (terminal.home / "old.zip").write_bytes(saying("old"))
    (terminal.home / "new.zip").write_bytes(saying("new"))

    created = terminal.aws(
        *("create-function", *which, "--runtime", RUNTIME, "--role", ROLE),
        *("--handler", "app.handler", "--zip-file", "fileb://old.zip"),
    ).json
    waited = terminal.aws("wait", "function-active-v2", *which)
    before = invoked(terminal, *which)
    updated = terminal.aws(
        "update-function-code", *which, "--zip-file", "fileb://new.zip"
    ).json
    terminal.aws("wait", "function-updated-v2", *which)
    published = terminal.aws("publish-version", *which).json
    terminal.aws("wait", "published-version-active", *which, "--qualifier", "1")
    alias = terminal.aws(
        "create-alias", *which, "--name", "live", "--function-version", "1"
    ).json
    after = invoked(terminal, *which, "--qualifier", "live")
    shown = terminal.aws("get-function", *which).json
    deleted = terminal.aws("delete-function", *which)

    assert (created["State"], created["FunctionArn"]) == ("Pending", account.arn(name))
    assert waited == (0, "", "")
    assert before == ({"StatusCode": 200, "ExecutedVersion": "$LATEST"}, "old")
    assert updated["LastUpdateStatus"] == "InProgress"
    assert (published["Version"], alias["FunctionVersion"]) == ("1", "1")
    assert after == ({"StatusCode": 200, "ExecutedVersion": "1"}, "new")
    assert shown["Configuration"]["CodeSha256"] == updated["CodeSha256"]
    assert deleted.status == 0, deleted.stderr


def test_the_aws_cli_lists_page_by_page(terminal: Terminal, create: Create) -> None:
    names = sorted(create(saying("x")) for _ in range(3))

    first = terminal.aws(
        *("list-functions", "--output", "json", "--page-size", "2"),
        *("--max-items", "1"),
    ).json
    every = terminal.aws("list-functions", "--output", "json", "--page-size", "2").json

    assert len(first["Functions"]) == 1
    assert first["NextToken"]
    listed = [each["FunctionName"] for each in every["Functions"]]
    assert listed == sorted(listed)
    assert set(names) <= set(listed)


def test_the_aws_cli_shows_a_refusal_on_stderr(
    terminal: Terminal, account: Account
) -> None:
    ended = terminal.aws("get-function", "--function-name", "no-such")

    assert ended.status == 255  # 254 of version 2
    assert ended.stdout == ""
    assert (
        "An error occurred (ResourceNotFoundException) when calling the GetFunction "
        f"operation: Function not found: {account.arn('no-such')}"
    ) in ended.stderr


def test_sam_invokes_a_function_by_its_arn(
    terminal: Terminal, account: Account, create: Create
) -> None:
    name = create(ECHO)

    ended = terminal.run(
        *("sam", "remote", "invoke", account.arn(name)),
        *("--event", '{"greeting": "hello"}'),
    )

    assert ended.status == 0, ended.stderr
    assert json.loads(ended.stdout) == {"echo": {"greeting": "hello"}}
    assert "was called" in ended.stderr


def test_sam_shows_a_function_that_fails(
    terminal: Terminal, account: Account, create: Create
) -> None:
    name = create(package("def handler(event, context): raise ValueError('no')"))

    ended = terminal.run("sam", "remote", "invoke", account.arn(name), "--event", "{}")

    assert "ValueError" in ended.stdout + ended.stderr


def invoked(terminal: Terminal, *which: str) -> tuple[dict[str, Any], object]:
    """What `invoke` says, and what the function answered."""
    said = terminal.aws("invoke", *which, "answer.json").json
    return said, json.loads((terminal.home / "answer.json").read_text())
