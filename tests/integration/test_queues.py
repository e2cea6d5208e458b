"""An endpoint's queues as botocore reads them: a real SQS, and endpoints that fail."""

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sandlot_engine.events.endpoints import EndpointAccess
from sandlot_engine.polling.queues import ANSWER_S, NoQueue, Queues, QueueTrouble
from sandlot_engine.polling.sources import Source
from tests.fakes.aws_endpoint import Service
from tests.fakes.queues import Sqs, serving_sqs

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def sqs() -> Iterator[Sqs]:
    with serving_sqs(ACCOUNT) as sqs:
        yield sqs


@pytest.fixture
def service() -> Iterator[Service]:
    """An endpoint that answers what it is told to."""
    service = Service()
    yield service
    service.close()


def queues_at(url: str, *, answer_s: float = ANSWER_S) -> Queues:
    return Queues(
        EndpointAccess(
            urls={"sqs": url},
            access_key_id="AKIAXMPL",
            secret_access_key="secret",
            region="us-east-1",
        ),
        answer_s=answer_s,
    )


def source(name: str) -> Source:
    return Source(
        arn=f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}",
        region="eu-west-1",
        account=ACCOUNT,
        name=name,
    )


async def received(
    queues: Queues, name: str, *, count: int = 10, wait_s: int = 1
) -> Sequence[dict[str, Any]]:
    async with asyncio.timeout(30):
        return await queues.receive(
            source(name), count=count, wait_s=wait_s, read=lambda raw: raw
        )


async def test_messages_are_received_and_deleted(sqs: Sqs) -> None:
    name = sqs.create()
    sqs.send_all(name, ["a", "b", "c"])

    with queues_at(sqs.url) as queues:
        got = await received(queues, name, count=2)
        left = await queues.delete(
            source(name), [each["ReceiptHandle"] for each in got]
        )

    assert [each["Body"] for each in got] == ["a", "b"]
    assert "SentTimestamp" in got[0]["Attributes"]
    assert left == []
    assert sqs.counts(name) == (1, 0)


async def test_a_message_is_waited_for(sqs: Sqs) -> None:
    name = sqs.create()

    with queues_at(sqs.url) as queues:
        waiting = asyncio.create_task(received(queues, name, wait_s=20))
        await asyncio.to_thread(sqs.send, name, "late")
        got = await waiting

    assert [each["Body"] for each in got] == ["late"]


async def test_what_is_released_is_there_at_once(sqs: Sqs) -> None:
    name = sqs.create()
    sqs.send(name, "a")

    with queues_at(sqs.url) as queues:
        (first,) = await received(queues, name)
        none = await received(queues, name, wait_s=0)
        await queues.release(source(name), [first["ReceiptHandle"]])
        (again,) = await received(queues, name)

    assert none == ()
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


async def test_what_was_not_deleted_is_told(sqs: Sqs) -> None:
    name = sqs.create()
    sqs.send(name, "a")

    with queues_at(sqs.url) as queues:
        (got,) = await received(queues, name)
        left = await queues.delete(source(name), ["nobody's", got["ReceiptHandle"]])

    assert left == ["nobody's"]


async def test_a_queue_tells_for_how_long_it_hides(sqs: Sqs) -> None:
    name = sqs.create(VisibilityTimeout="7")

    with queues_at(sqs.url) as queues:
        assert await queues.visibility_s(source(name)) == 7.0


async def test_a_queue_that_is_not_there_is_told_apart(sqs: Sqs) -> None:
    with queues_at(sqs.url) as queues:
        with pytest.raises(NoQueue, match="NonExistentQueue"):
            await received(queues, "nothing")


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (403, b'{"__type":"AccessDenied","message":"no"}'),
        (200, b'{"Messages": 7, "Attributes": 7}'),
        (200, b"[]"),
    ],
    ids=["broken", "denied", "no-messages", "a-list"],
)
async def test_an_endpoint_that_fails_is_trouble_and_no_more(
    service: Service, answer: tuple[int, bytes]
) -> None:
    service.answer = answer

    with queues_at(service.url) as queues:
        with pytest.raises(QueueTrouble):
            await queues.receive(source("jobs"), count=1, wait_s=0, read=list)
        with pytest.raises(QueueTrouble):
            await queues.visibility_s(source("jobs"))


async def test_what_an_endpoint_does_not_say_is_done_is_not(service: Service) -> None:
    service.answer = 200, b"<html>"

    with queues_at(service.url) as queues:
        left = await queues.delete(source("jobs"), ["a", "b"])
        with pytest.raises(QueueTrouble):
            await queues.visibility_s(source("jobs"))

    assert left == ["a", "b"]


async def test_an_endpoint_that_is_not_there_is_trouble(service: Service) -> None:
    service.server.server_close()

    with queues_at(service.url) as queues:
        with pytest.raises(QueueTrouble):
            await received(queues, "jobs")


async def test_an_endpoint_that_says_nothing_is_not_waited_for_for_ever() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"

    with queues_at(url, answer_s=0.1) as queues, silent:
        for _ in range(2):
            with pytest.raises(QueueTrouble, match=r"not answered within 0\.1 s"):
                await queues.visibility_s(source("jobs"))
            with pytest.raises(QueueTrouble, match=r"not answered within 0\.1 s"):
                await received(queues, "jobs")


async def test_no_other_machine_is_asked_than_the_operator_s(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    service.answer = 200, b"{}"

    with queues_at(service.url) as queues:
        await received(queues, "jobs")

    sent = json.loads(service.body)
    assert sent["QueueUrl"] == f"{service.url}/{ACCOUNT}/jobs"
    assert sent["WaitTimeSeconds"] == 1
    assert "Credential=AKIAXMPL/" in service.headers["authorization"]


def test_without_an_endpoint_there_is_none() -> None:
    access = EndpointAccess(
        urls={}, access_key_id="", secret_access_key="", region="us-east-1"
    )

    with Queues(access) as queues:
        assert not queues.has_endpoint
