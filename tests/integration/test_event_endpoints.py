"""Endpoints, as botocore speaks to them: what arrives, and what becomes of answers."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

import pytest

from sandlot_engine.events.endpoints import EndpointAccess, Endpoints, Untold
from sandlot_engine.events.lineage import continued, read
from sandlot_engine.model.event import (
    Condition,
    Delivery,
    DeliveryKind,
    Event,
    EventState,
)
from sandlot_engine.model.target import BadTarget, target_of
from sandlot_engine.store.event_ports import Parcel
from tests.fakes.aws_endpoint import TAKEN, Service
from tests.fakes.things import NOON

TENANT = "123456789012"
QUEUE = f"arn:aws:sqs:eu-west-1:{TENANT}:jobs"
TOPIC = f"arn:aws:sns:eu-west-1:{TENANT}:alarms"
BUS = f"arn:aws:events:eu-west-1:{TENANT}:event-bus/results"

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8"

PUBLISHED = 200, b"<A><PublishResult><MessageId>1</MessageId></PublishResult></A>"
PUT = 200, b'{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}'


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture
def endpoints(service: Service) -> Iterator[Endpoints]:
    access = EndpointAccess(
        urls=dict.fromkeys(("sqs", "sns", "events"), service.url),
        access_key_id="AKIAXMPL",
        secret_access_key="secret",
        region="us-east-1",
    )
    with Endpoints(access) as endpoints:
        yield endpoints


def parcel(
    arn: str, kind: DeliveryKind = DeliveryKind.DESTINATION, **of_event: Any
) -> Parcel:
    event = Event(
        position=1,
        request_id="r-1",
        tenant_id=TENANT,
        function="f",
        size=2,
        state=EventState.DELIVERING,
        accepted=NOON,
        due=NOON,
        ended=NOON,
        condition=Condition.ZERO_CONCURRENCY,
        reason="switched off",
        **of_event,
    )
    delivery = Delivery(
        position=1, tenant_id=TENANT, kind=kind, target=arn, due=NOON, since=NOON
    )
    return Parcel(delivery=delivery, event=event, payload=b"{}", response=None)


async def tell(
    endpoints: Endpoints,
    arn: str,
    body: bytes,
    kind: DeliveryKind = DeliveryKind.DESTINATION,
    of_event: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    async with asyncio.timeout(30):
        await endpoints.tell(
            target_of(arn, tenant_id=TENANT),
            parcel(arn, kind, **of_event),
            body,
            region="us-east-1",
        )


async def test_what_is_told_has_the_trace_of_its_function(
    service: Service, endpoints: Endpoints
) -> None:
    led = continued("", TENANT, "other")
    for arn, answer in ((QUEUE, TAKEN), (TOPIC, PUBLISHED), (BUS, PUT)):
        service.answer = answer

        await tell(endpoints, arn, b"{}", of_event={"trace": ROOT, "lineage": led})

        header = service.headers["x-amzn-trace-id"]
        assert read(header) == (f"{ROOT};Sampled=0", continued(led, TENANT, "f"))


async def test_a_queue_is_sent_a_dead_letter(
    service: Service, endpoints: Endpoints
) -> None:
    await tell(endpoints, QUEUE, b'{"n":1}', kind=DeliveryKind.DEAD_LETTER)

    sent = json.loads(service.body)
    assert service.headers["x-amz-target"] == "AmazonSQS.SendMessage"
    assert sent["QueueUrl"] == f"{service.url}/{TENANT}/jobs"
    assert sent["MessageBody"] == '{"n":1}'
    assert sent["MessageAttributes"]["ErrorCode"] == {
        "DataType": "Number",
        "StringValue": "429",
    }
    assert "Credential=AKIAXMPL/" in service.headers["authorization"]
    assert "/us-east-1/sqs/" in service.headers["authorization"]


async def test_a_queue_is_sent_a_record_without_attributes(
    service: Service, endpoints: Endpoints
) -> None:
    await tell(endpoints, QUEUE, b"{}")

    assert "MessageAttributes" not in json.loads(service.body)


async def test_a_topic_is_published_to(service: Service, endpoints: Endpoints) -> None:
    service.answer = PUBLISHED

    await tell(endpoints, TOPIC, b'{"n":1}', kind=DeliveryKind.DEAD_LETTER)

    sent = parse_qs(service.body.decode())
    assert sent["Action"] == ["Publish"]
    assert sent["TopicArn"] == [TOPIC]
    assert sent["Message"] == ['{"n":1}']
    assert sent["MessageAttributes.entry.1.Name"] == ["RequestID"]
    assert sent["MessageAttributes.entry.1.Value.StringValue"] == ["r-1"]


async def test_a_bus_is_put_an_entry(service: Service, endpoints: Endpoints) -> None:
    service.answer = PUT

    await tell(endpoints, BUS, b'{"version":"1.0"}')

    [entry] = json.loads(service.body)["Entries"]
    assert service.headers["x-amz-target"] == "AWSEvents.PutEvents"
    assert entry["EventBusName"] == BUS
    assert entry["Detail"] == '{"version":"1.0"}'
    assert entry["DetailType"].endswith("- Failure")


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (
            (400, b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}'),
            BadTarget,
        ),
        ((403, b'{"__type":"AccessDenied","message":"no"}'), Untold),
        ((500, b""), Untold),
        ((200, b"<html>"), Untold),
    ],
    ids=["no-queue", "denied", "broken", "nonsense"],
)
async def test_what_an_endpoint_says_decides_whether_it_is_told_again(
    service: Service,
    endpoints: Endpoints,
    answer: tuple[int, bytes],
    raised: type[Exception],
) -> None:
    service.answer = answer

    with pytest.raises(raised):
        await tell(endpoints, QUEUE, b"{}")


async def test_an_entry_that_was_not_taken_is_put_again(
    service: Service, endpoints: Endpoints
) -> None:
    service.answer = (
        200,
        b'{"FailedEntryCount":1,"Entries":[{"ErrorCode":"InternalFailure"}]}',
    )

    with pytest.raises(Untold, match="InternalFailure"):
        await tell(endpoints, BUS, b"{}")


async def test_an_endpoint_that_is_not_there_is_tried_again(
    service: Service, endpoints: Endpoints
) -> None:
    service.server.server_close()

    with pytest.raises(Untold, match="sqs"):
        await tell(endpoints, QUEUE, b"{}")


async def test_a_service_without_an_endpoint_is_named() -> None:
    access = EndpointAccess(
        urls={}, access_key_id="", secret_access_key="", region="us-east-1"
    )
    with Endpoints(access) as endpoints:
        with pytest.raises(BadTarget, match="--destination sqs=URL"):
            await tell(endpoints, QUEUE, b"{}")


async def test_no_other_machine_is_spoken_to_than_the_operators(
    service: Service, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")

    await tell(endpoints, QUEUE, b"{}")

    assert json.loads(service.body)["MessageBody"] == "{}"
