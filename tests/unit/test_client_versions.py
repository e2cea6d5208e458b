"""Versions and aliases by the SDK, both twins."""

import pytest

from sandlot import AsyncClient, Client, errors
from sandlot.results import Alias, FunctionState
from sandlot.v1 import functions_pb2 as fn
from tests.fakes.engine import Engine


def test_a_version_is_published_and_waited_for(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    engine.polls_until_ready = 3

    version = client.publish_version("hello", description="first")

    assert (version.version, version.state) == ("1", FunctionState.ACTIVE)
    assert version.description == "first"
    assert version.arn.endswith(":function:hello:1")


def test_a_version_in_the_making_is_waited_for_until_the_deadline(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.polls_until_ready = 1_000_000

    with pytest.raises(errors.DeadlineExceeded, match="sandlot fn show hello:1"):
        client.publish_version("hello", deadline=0.2)


def test_a_version_that_failed_raises(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    engine.next_updates.append((fn.FUNCTION_STATE_FAILED, "its hook raised"))

    with pytest.raises(errors.DeployFailed, match=r"hello:1 could not .* hook raised"):
        client.publish_version("hello")


def test_versions_are_listed_to_the_last_page_and_deleted(
    client: Client, engine: Engine
) -> None:
    hello = client.function("hello")
    engine.add_function("hello")
    for _ in range(3):
        hello.publish()

    client.delete_version("hello", 2)

    versions = [each.version for each in client.list_versions("hello")]
    assert versions == ["$LATEST", "1", "3"]
    assert client.get_function("hello", qualifier="3").version == "3"


def test_an_alias_is_a_value(client: Client, engine: Engine) -> None:
    hello = client.function("hello")
    engine.add_function("hello")
    hello.publish()
    hello.publish()

    made = hello.put_alias("live", 1, weights={"2": 0.1}, description="ours")
    kept = client.put_alias("hello", "live", "2")

    assert made == Alias(
        function="hello",
        name="live",
        arn="arn:aws:lambda:us-east-1:000000000001:function:hello:live",
        version="1",
        weights={"2": 0.1},
        description="ours",
        revision_id=made.revision_id,
    )
    assert (kept.version, kept.weights, kept.description) == ("2", {}, "ours")
    assert list(client.list_aliases("hello", version=1)) == []
    client.delete_alias("hello", "live")
    assert list(client.list_aliases("hello")) == []


async def test_the_asynchronous_twin_does_the_same(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.polls_until_ready = 2
    hello = aclient.function("hello")

    version = await hello.publish(description="first")
    alias = await hello.put_alias("live", version.version)
    listed = [each.version async for each in aclient.list_versions("hello")]
    aliases = [each async for each in aclient.list_aliases("hello")]
    by_alias = await aclient.get_function("hello", qualifier="live")
    await aclient.delete_alias("hello", "live")
    await aclient.delete_version("hello", version.version)

    assert listed == ["$LATEST", "1"]
    assert aliases == [alias]
    assert by_alias.version == "1"
    assert [each.version async for each in aclient.list_versions("hello")] == [
        "$LATEST"
    ]
