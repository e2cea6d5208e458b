"""The asynchronous twin: the same behaviour, checked where the shells differ."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot import (
    AsyncClient,
    AsyncFunctionHandle,
    AsyncTicket,
    Client,
    FunctionHandle,
    Ticket,
    errors,
)
from sandlot.results import EventState
from sandlot.v1 import events_pb2 as evt
from tests.fakes.engine import Engine, Failure
from tests.fakes.server import Server


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [
        (Client, AsyncClient),
        (FunctionHandle, AsyncFunctionHandle),
        (Ticket, AsyncTicket),
    ],
)
def test_the_twins_have_the_same_methods_with_the_same_parameters(
    blocking: type, asynchronous: type
) -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(asynchronous) == methods(blocking)


@pytest.mark.parametrize(
    ("of_all", "of_one"),
    [(Client, FunctionHandle), (AsyncClient, AsyncFunctionHandle)],
)
def test_a_handle_takes_what_its_client_takes_but_for_the_name(
    of_all: type, of_one: type
) -> None:
    called = {
        "config": "get_function",
        "update": "update_function",
        "delete": "delete_function",
        "publish": "publish_version",
    }

    for name, member in inspect.getmembers(of_one, inspect.isfunction):
        if not name.startswith("_"):
            there = inspect.signature(getattr(of_all, called.get(name, name)))
            here = list(inspect.signature(member).parameters)
            assert here == [each for each in there.parameters if each != "name"], name


async def test_deploy_invoke_list_and_delete(
    aclient: AsyncClient, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text("def handler(event, context): ...\n")
    engine.polls_until_ready = 2

    hello = await aclient.deploy(tmp_path / "hello.py", memory=256)
    reply = await hello.invoke({"n": 1})
    names = [one.name async for one in aclient.functions()]
    await hello.delete()

    assert reply.value == {"n": 1}
    assert names == ["hello"]
    with pytest.raises(errors.NotFound):
        await hello.config()


async def test_a_function_that_fails_raises_here_too(
    aclient: AsyncClient, engine: Engine
) -> None:
    def fail(event: object) -> None:
        raise Failure("ValueError", "no")

    engine.add_function("broken", fail)

    with pytest.raises(errors.Unhandled, match="ValueError: no"):
        await aclient.invoke("broken")


async def test_values_may_come_asynchronously(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("double", lambda n: n * 2)

    async def values() -> AsyncIterator[int]:
        for n in range(30):
            yield n

    results = aclient.map("double", values(), concurrency=4, ordered=True)

    assert [one.value async for one in results] == [n * 2 for n in range(30)]


async def test_logs_and_runs_can_be_iterated(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.log("hello", b"one")
    engine.log("hello", b"two")
    await aclient.invoke("hello")

    assert [line.text async for line in aclient.logs("hello")] == ["one", "two"]
    assert [run.function async for run in aclient.runs("hello")] == ["hello"]


async def test_no_engine_is_a_failed_connection(nobodys_environment: Path) -> None:
    async with AsyncClient("127.0.0.1:1", deadline=10) as client:
        with pytest.raises(errors.ConnectionFailed):
            await client.invoke("hello")


def test_a_client_can_be_made_before_there_is_a_loop(
    nobodys_environment: Path,
) -> None:
    assert repr(AsyncClient("127.0.0.1:1")) == "<AsyncClient 127.0.0.1:1>"


async def test_a_ticket_waits_until_its_event_is_over(
    server: Server, aclient: AsyncClient
) -> None:
    server.engine.add_function("hello")
    ticket = await aclient.function("hello").enqueue()
    server.events.all.append(evt.Event(request_id=ticket.request_id))
    server.events.next_states = [evt.EVENT_STATE_RUNNING, evt.EVENT_STATE_SUCCEEDED]
    server.events.batches = [(2, False), (3, False)]

    told = await ticket.wait()

    assert told.state is EventState.SUCCEEDED
    assert (await ticket.status()).is_over
    assert await aclient.event_payload(ticket.request_id) == b'{"n":1}'
    assert [event async for event in aclient.events()] == [told]
    assert await aclient.redrive_events() == 2
    assert await aclient.purge_events() == 3


async def test_how_events_are_treated_is_said_and_taken_back(
    aclient: AsyncClient,
) -> None:
    said = await aclient.put_event_settings("hello", max_age_s=60)
    await aclient.delete_event_settings("hello")

    assert (said.max_retries, said.max_age_s) == (2, 60)
    assert (await aclient.get_event_settings("hello")).max_age_s == 21_600


async def test_tags_are_added_and_taken_away(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("hello")

    added = await aclient.tag_function("hello", {"team": "blue", "stage": "a"})
    left = await aclient.untag_function("hello", ["stage"])

    assert (added, left) == ({"team": "blue", "stage": "a"}, {"team": "blue"})
    assert (await aclient.get_function("hello")).tags == left
    with pytest.raises(errors.UsageError, match="keys is a list"):
        await aclient.untag_function("hello", "team")


async def test_a_client_is_of_the_loop_that_used_it_first(
    aclient: AsyncClient, engine: Engine
) -> None:
    engine.add_function("hello")
    await aclient.invoke("hello")

    with pytest.raises(errors.UsageError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, aclient.invoke("hello"))


@pytest.mark.parametrize("is_used", [True, False])
async def test_a_client_that_is_closed_says_so(
    aclient: AsyncClient, engine: Engine, *, is_used: bool
) -> None:
    engine.add_function("hello")
    if is_used:
        await aclient.invoke("hello")
    await aclient.close()

    with pytest.raises(errors.UsageError, match="this client is closed"):
        await aclient.invoke("hello")
    with pytest.raises(errors.UsageError, match="this client is closed"):
        [one async for one in aclient.map("hello", [1])]
