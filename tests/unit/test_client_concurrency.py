"""Reserved and provisioned concurrency by the SDK, both twins."""

import pytest

from sandlot import AsyncClient, Client, errors
from sandlot.results import Concurrency, ProvisionStatus
from tests.fakes.engine import Engine


def test_what_is_reserved_is_a_value(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    engine.add_function("other")

    nothing = client.get_concurrency()
    off = client.put_reserved_concurrency("hello", 0)
    some = client.put_reserved_concurrency("other", 30)

    assert nothing == Concurrency(
        limit=1_000, unreserved=1_000, reserved={}, provisioned={}
    )
    assert off.reserved == {"hello": 0}
    assert some == client.get_concurrency("other")
    assert (some.unreserved, some.reserved) == (970, {"other": 30})
    assert client.get_concurrency().reserved == {"hello": 0, "other": 30}
    assert client.delete_reserved_concurrency("other").reserved == {}


def test_what_is_provisioned_is_waited_for(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    version = client.publish_version("hello").version
    engine.polls_until_ready = 3

    ready = client.put_provisioned_concurrency("hello", version, 4)

    assert (ready.status, ready.available) == (ProvisionStatus.READY, 4)
    assert ready == client.get_provisioned_concurrency("hello", 1)


def test_what_finds_no_room_is_a_value_and_says_why(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")
    client.publish_version("hello")
    engine.room, engine.polls_until_ready = 3, 1

    failed = client.put_provisioned_concurrency("hello", 1, 4)

    assert (failed.status, failed.allocated) == (ProvisionStatus.FAILED, 3)
    assert failed.reason == "3 of 4 instances"


def test_what_is_still_being_started_says_where_to_look(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")
    client.publish_version("hello")
    engine.polls_until_ready = 1_000_000

    with pytest.raises(
        errors.DeadlineExceeded, match=r"0 of 4 .* `sandlot concurrency show hello"
    ):
        client.put_provisioned_concurrency("hello", 1, 4, deadline=0.2)


def test_what_is_provisioned_is_listed_to_the_last_page_and_deleted(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")
    for _ in range(3):
        version = client.publish_version("hello").version
        client.put_provisioned_concurrency("hello", version, 1)

    client.delete_provisioned_concurrency("hello", 2)

    assert client.get_concurrency().provisioned == {"hello": 2}
    left = [one.qualifier for one in client.list_provisioned_concurrency("hello")]
    assert left == ["1", "3"]
    with pytest.raises(errors.NotFound):
        client.get_provisioned_concurrency("hello", 2)
    with pytest.raises(errors.NotFound):
        client.delete_provisioned_concurrency("hello", 2)


async def test_the_asynchronous_twin_does_the_same(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("hello")
    await aclient.publish_version("hello")
    engine.polls_until_ready = 2

    reserved = await aclient.put_reserved_concurrency("hello", 20)
    ready = await aclient.put_provisioned_concurrency("hello", 1, 4)
    listed = [one async for one in aclient.list_provisioned_concurrency("hello")]
    found = await aclient.get_provisioned_concurrency("hello", 1)
    await aclient.delete_provisioned_concurrency("hello", 1)
    given_back = await aclient.delete_reserved_concurrency("hello")

    assert reserved.reserved == {"hello": 20}
    assert ready.status is ProvisionStatus.READY
    assert listed == [found] == [ready]
    assert engine.provisioned == {}
    assert given_back == await aclient.get_concurrency()
