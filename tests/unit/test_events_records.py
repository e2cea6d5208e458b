"""What is told of an event, byte by byte as AWS has it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandlot_engine.events import records
from sandlot_engine.model.event import Attempt, AttemptStatus, Condition, Event
from sandlot_engine.model.target import SERVICES, BadTarget, target_of

ENDED = datetime(2019, 11, 14, 18, 16, 5, 568_912, tzinfo=UTC)
TENANT = "123456789012"


def attempt(status: AttemptStatus = AttemptStatus.ERROR, **fields: Any) -> Attempt:
    ran = status not in (AttemptStatus.SYSTEM_ERROR, AttemptStatus.INTERRUPTED)
    return Attempt(
        started=ENDED,
        ended=ENDED,
        status=status,
        version="$LATEST" if ran else "",
        **fields,
    )


def event(**fields: Any) -> Event:
    return Event(
        **{
            "request_id": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "tenant_id": TENANT,
            "function": "my-function",
            "size": 2,
            "accepted": ENDED - timedelta(minutes=3),
            "due": ENDED,
            "ended": ENDED,
            "condition": Condition.RETRIES_EXHAUSTED,
            "runs": 3,
            "attempts": (attempt(),),
            **fields,
        }
    )


def test_a_record_of_a_failure_is_awss() -> None:
    record = records.invocation_record(
        event(), b'{"ORDER_IDS": ["9e07"]}', b'{"errorType":"E"}', region="us-east-2"
    )

    assert record == (
        b'{"version":"1.0","timestamp":"2019-11-14T18:16:05.568Z",'
        b'"requestContext":{"requestId":"e4b46cbf-b738-xmpl-8880-a18cdf61200e",'
        b'"functionArn":"arn:aws:lambda:us-east-2:123456789012:function:my-function:'
        b'$LATEST","condition":"RetriesExhausted","approximateInvokeCount":3},'
        b'"requestPayload":{"ORDER_IDS": ["9e07"]},'
        b'"responseContext":{"statusCode":200,"executedVersion":"$LATEST",'
        b'"functionError":"Unhandled"},'
        b'"responsePayload":{"errorType":"E"}}'
    )


@pytest.mark.parametrize(
    "response",
    [b'null,"requestContext":{"functionArn":"another"}', b"{", b"\xff", b"[" * 9_999],
)
def test_what_a_program_answers_cannot_forge_the_rest(response: bytes) -> None:
    done = event(condition=Condition.SUCCESS, attempts=(attempt(AttemptStatus.OK),))

    told = json.loads(
        records.invocation_record(done, b"{}", response, region="us-east-1")
    )

    assert told["responsePayload"] == response.decode("utf-8", "replace")
    assert told["requestContext"]["requestId"] == done.request_id


def test_a_record_of_a_success_has_no_function_error() -> None:
    done = event(
        condition=Condition.SUCCESS,
        qualifier="live",
        attempts=(attempt(AttemptStatus.OK),),
    )

    record = records.invocation_record(done, b"{}", b'"ok"', region="us-east-1")

    assert b'"condition":"Success"' in record
    assert b":my-function:live" in record
    assert record.endswith(
        b'"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},'
        b'"responsePayload":"ok"}'
    )


@pytest.mark.parametrize(
    "attempts", [(), (attempt(AttemptStatus.SYSTEM_ERROR),)], ids=["none", "ours"]
)
def test_what_never_answered_has_no_response(attempts: tuple[Attempt, ...]) -> None:
    never = event(
        condition=Condition.ZERO_CONCURRENCY, runs=len(attempts), attempts=attempts
    )

    record = records.invocation_record(never, b"[]", None, region="us-east-1")

    assert record.endswith(b'"requestPayload":[]}')


def test_what_was_not_kept_of_a_response_is_null() -> None:
    record = records.invocation_record(event(), b"1", None, region="us-east-1")

    assert record.endswith(b'"responsePayload":null}')


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"attempts": (attempt(error="boom"),)}, "200", "boom"),
        ({"attempts": (attempt(error="x" * 2_000),)}, "200", "x" * 1_024),
        ({"attempts": (), "reason": "zero"}, "429", "zero"),
        (
            {"attempts": (attempt(AttemptStatus.SYSTEM_ERROR, error="lost"),)},
            "500",
            "lost",
        ),
    ],
)
def test_a_dead_letter_has_awss_attributes(
    fields: dict[str, Any], code: str, message: str
) -> None:
    assert records.dead_letter_attributes(event(**fields)) == {
        "RequestID": ("String", "e4b46cbf-b738-xmpl-8880-a18cdf61200e"),
        "ErrorCode": ("Number", code),
        "ErrorMessage": ("String", message),
    }


@pytest.mark.parametrize(
    ("condition", "how"),
    [(Condition.SUCCESS, "Success"), (Condition.AGE_EXCEEDED, "Failure")],
)
def test_a_bus_is_told_in_awss_words(condition: Condition, how: str) -> None:
    bus = f"arn:aws:events:us-east-1:{TENANT}:event-bus/results"

    entry = records.bus_entry(
        event(condition=condition), b'{"v":1}', bus=bus, region="us-east-1"
    )

    assert entry == {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {how}",
        "Detail": '{"v":1}',
        "Resources": [
            bus,
            f"arn:aws:lambda:us-east-1:{TENANT}:function:my-function:$LATEST",
        ],
        "EventBusName": bus,
    }


@pytest.mark.parametrize(
    ("arn", "service", "name", "qualifier"),
    [
        (f"arn:aws:sqs:us-east-1:{TENANT}:jobs", "sqs", "jobs", ""),
        (f"arn:aws:sns:eu-west-1:{TENANT}:alarms", "sns", "alarms", ""),
        (f"arn:aws:events:us-east-1:{TENANT}:event-bus/b.1", "events", "b.1", ""),
        (f"arn:aws:lambda:us-east-1:{TENANT}:function:f", "lambda", "f", ""),
        (f"arn:aws:lambda:us-east-1:{TENANT}:function:f:live", "lambda", "f", "live"),
    ],
)
def test_an_arn_selects_what_is_told(
    arn: str, service: str, name: str, qualifier: str
) -> None:
    target = target_of(arn, tenant_id=TENANT)

    assert (target.service, target.name, target.qualifier) == (service, name, qualifier)
    assert service in (*SERVICES, "lambda")


@pytest.mark.parametrize(
    ("arn", "says"),
    [
        ("arn:aws:sqs:us-east-1:999999999999:jobs", "another account"),
        ("arn:aws:lambda:us-east-1:999999999999:function:f", "another account"),
        ("arn:aws:s3:::bucket", "S3 destinations are not supported"),
        (f"arn:aws:sqs:us-east-1:{TENANT}:../other", "no name of a queue"),
        (f"arn:aws:sqs:us-east-1:{TENANT}:a/b", "no name of a queue"),
        (f"arn:aws:events:us-east-1:{TENANT}:rule/x", "no event bus"),
        (f"arn:aws:lambda:us-east-1:{TENANT}:layer:x", "no function"),
        (f"arn:aws:dynamodb:us-east-1:{TENANT}:table/x", "no ARN"),
        ("http://169.254.169.254/", "no ARN"),
        ("", "no ARN"),
    ],
)
def test_an_arn_of_anything_else_is_refused(arn: str, says: str) -> None:
    with pytest.raises(BadTarget, match=says):
        target_of(arn, tenant_id=TENANT)
