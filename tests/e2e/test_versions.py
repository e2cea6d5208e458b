"""Versions and aliases: what serves, while the next is made and tried."""

from collections import Counter

import pytest

from sandlot import Client, FunctionHandle, errors
from tests.e2e.conftest import Deploy
from tests.e2e.engines import Engine
from tests.fakes.zips import zip_of

MANY = 60
"""Of which none go to a version that has half of them once in 10^18 times."""


def source(version: int) -> dict[str, str]:
    return {"app.py": f"def handler(event, context): return {version}"}


def next_version(client: Client, function: FunctionHandle, number: int) -> str:
    """Deploy and publish; the version's number."""
    client.deploy(zip_of(source(number)), name=function.name)
    return function.publish(description=f"number {number}").version


def test_a_version_serves_while_the_next_is_made_and_tried(
    client: Client, deploy: Deploy
) -> None:
    function = deploy(source(1))
    first = function.publish().version
    function.put_alias("live", first)
    second = next_version(client, function, 2)

    assert (first, second) == ("1", "2")
    assert function.publish().version == second
    assert function.invoke().value == 2
    assert function.invoke(qualifier="live").value == 1
    assert function.invoke(qualifier="live").executed_version == "1"
    function.put_alias("live", second)
    assert function.invoke(qualifier="live").value == 2
    assert function.invoke(qualifier="1").value == 1
    told = [
        (each.version, each.description) for each in client.list_versions(function.name)
    ]
    assert told == [("$LATEST", ""), ("1", ""), ("2", "number 2")]


def test_an_alias_between_two_versions_leads_to_either(
    client: Client, deploy: Deploy
) -> None:
    function = deploy(source(1))
    function.publish()
    next_version(client, function, 2)

    function.put_alias("canary", 1, weights={"2": 0.5})
    answers = Counter(function.invoke(qualifier="canary").value for _ in range(MANY))
    function.put_alias("canary", 1)

    assert set(answers) == {1, 2}
    assert {function.invoke(qualifier="canary").value for _ in range(9)} == {1}


def test_what_is_deleted_is_refused_and_what_is_in_use_stays(
    client: Client, deploy: Deploy
) -> None:
    function = deploy(source(1))
    function.publish()
    function.put_alias("live", 1)

    with pytest.raises(errors.Conflict, match="live"):
        client.delete_version(function.name, 1)
    client.delete_alias(function.name, "live")
    client.delete_version(function.name, 1)

    for qualifier in ("live", "1"):
        with pytest.raises(errors.NotFound):
            function.invoke(qualifier=qualifier)
    assert function.invoke().value == 1
    # Although nothing has changed: a number is never used again.
    assert function.publish().version == "2"


def test_a_release_by_the_command_line(engine: Engine) -> None:
    handle = engine.client().deploy(
        zip_of(source(1)), name="released", handler="app.handler"
    )

    published = engine.run("fn", "publish", handle.name)
    handle = engine.client().deploy(zip_of(source(2)), name=handle.name)
    said = [
        engine.run(*words)
        for words in (
            ("fn", "publish", handle.name),
            ("alias", "set", handle.name, "live", "1", "--weight", "2=0"),
            ("alias", "list", handle.name),
            ("fn", "versions", handle.name),
            ("invoke", f"{handle.name}:live"),
            ("invoke", f"{handle.name}:2"),
            ("alias", "delete", handle.name, "live", "--yes"),
            ("fn", "delete", handle.name, "--version", "1", "--yes"),
        )
    ]
    gone = engine.run("invoke", f"{handle.name}:1")
    handle.delete()

    assert published[1].startswith("1\n")
    assert [status for status, _ in said] == [0] * len(said)
    assert "live   1 (100 %), 2 (0 %)" in said[2][1]
    assert said[4][1].startswith("1\n")
    assert said[5][1].startswith("2\n")
    assert gone[0] == 3
    assert "sandlot fn versions released" in gone[1]
