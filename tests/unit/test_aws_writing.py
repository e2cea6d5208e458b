"""What goes out: answers and errors, as AWS's clients expect them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    Fault,
    Internal,
    InvalidParameter,
    NotFound,
    NotSupported,
    PermissionDenied,
    QuotaExceeded,
    Refusal,
    SandlotError,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from sandlot_engine.gateway.aws.faults import (
    OPERATION_NOT_SUPPORTED,
    UNMODELLED,
    AwsError,
    aws_error_of,
)
from sandlot_engine.gateway.aws.service import Service
from sandlot_engine.gateway.aws.writing import (
    Answer,
    timestamp_text,
    write,
    write_error,
)

SERVICE = Service.load()


def answer_of(name: str, output: dict[str, Any]) -> Answer:
    return write(SERVICE.operation(name), output, "id-1")


def test_an_output_is_json_without_what_is_none() -> None:
    answer = answer_of("CreateFunction", {"FunctionName": "f", "KMSKeyArn": None})

    assert answer == Answer(
        201,
        [("x-amzn-RequestId", "id-1"), ("Content-Type", "application/json")],
        b'{"FunctionName":"f"}',
    )


def test_status_headers_and_payload_are_where_the_model_has_them() -> None:
    output = {
        "StatusCode": 202,
        "FunctionError": "Unhandled",
        "ExecutedVersion": "$LATEST",
        "Payload": b"[1]",
    }

    answer = answer_of("Invoke", output)

    assert (answer.status, answer.body) == (202, b"[1]")
    assert ("X-Amz-Function-Error", "Unhandled") in answer.headers
    assert ("X-Amz-Executed-Version", "$LATEST") in answer.headers


@pytest.mark.parametrize(
    ("name", "output", "status"),
    [
        ("DeleteAlias", {}, 204),
        ("DeleteFunction", {"StatusCode": 204}, 204),
        ("TagResource", {}, 204),
        ("InvokeAsync", {"Status": 202}, 202),
    ],
)
def test_what_has_nothing_to_say_has_no_body(
    name: str, output: dict[str, Any], status: int
) -> None:
    answer = answer_of(name, output)

    assert answer == Answer(status, [("x-amzn-RequestId", "id-1")], b"")


def test_an_output_without_members_is_an_empty_object() -> None:
    answer = answer_of("SendDurableExecutionCallbackHeartbeat", {})

    assert (answer.status, answer.body) == (200, b"{}")


def test_a_stream_of_events_has_its_head_alone() -> None:
    answer = answer_of("InvokeWithResponseStream", {"StatusCode": 200})

    assert ("Content-Type", "application/vnd.amazon.eventstream") in answer.headers
    assert answer.body == b""


def test_what_is_not_ascii_is_utf_8() -> None:
    assert "é".encode() in answer_of("GetAlias", {"Description": "é"}).body


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("CreateFunction", {"Speed": 1}),
        ("CreateFunction", {"VpcConfig": {"Speed": 1}}),
        ("DeleteAlias", {"Name": "a"}),
        ("CreateFunction", {"MemorySize": "128"}),
        ("CreateFunction", {"MemorySize": True}),
        ("CreateFunction", {"FunctionName": 1}),
        ("CreateFunction", {"Layers": [{"Arn": None, "CodeSize": 1.5}]}),
        ("ListFunctionsByCodeSigningConfig", {"FunctionArns": [None]}),
        ("Invoke", {"FunctionError": "a\r\nSet-Cookie: b"}),
        ("CreateEventSourceMapping", {"LastModified": datetime(2026, 1, 1)}),  # noqa: DTZ001
        ("InvokeWithResponseStream", {"EventStream": b""}),
    ],
)
def test_an_output_that_the_model_does_not_have_is_a_mistake_of_ours(
    name: str, output: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        answer_of(name, output)


@pytest.mark.parametrize(
    ("form", "moment", "text"),
    [
        ("unixTimestamp", datetime(2024, 12, 2, 14, tzinfo=UTC), 1733148000),
        (
            "unixTimestamp",
            datetime(2024, 12, 2, 14, 0, 0, 123_000, UTC),
            1733148000.123,
        ),
        ("iso8601", datetime(2024, 12, 2, 14, tzinfo=UTC), "2024-12-02T14:00:00Z"),
        (
            "iso8601",
            datetime(2024, 12, 2, 14, 0, 0, 123_456, UTC),
            "2024-12-02T14:00:00.123Z",
        ),
        (
            "rfc822",
            datetime(2024, 12, 2, 14, tzinfo=UTC),
            "Mon, 02 Dec 2024 14:00:00 GMT",
        ),
    ],
)
def test_a_time_is_in_the_model_s_format(
    form: str, moment: datetime, text: str | float
) -> None:
    assert timestamp_text(form, moment) == text


def told(error: AwsError) -> tuple[int, dict[str, str], dict[str, Any]]:
    answer = write_error(error, "id-1")
    return answer.status, dict(answer.headers), json.loads(answer.body)


def test_a_modelled_error_has_its_type_and_its_message_s_case() -> None:
    status, headers, body = told(AwsError("ResourceNotFoundException", "gone"))

    assert (status, body) == (404, {"Type": "User", "Message": "gone"})
    assert headers == {
        "x-amzn-RequestId": "id-1",
        "Content-Type": "application/json",
        "x-amzn-ErrorType": "ResourceNotFoundException",
    }
    assert told(AwsError("ResourceConflictException", "busy"))[2] == {
        "Type": "User",
        "message": "busy",
    }
    assert told(AwsError("ServiceException", "broken"))[::2] == (
        500,
        {"Type": "Service", "Message": "broken"},
    )


def test_an_error_s_own_members_go_where_the_model_has_them() -> None:
    throttled = Throttled(
        "too many", reason="CallerRateLimitExceeded", limit=1, retry_after_s=1.2
    )

    status, headers, body = told(aws_error_of(throttled))

    assert status == 429
    assert headers["Retry-After"] == "2"
    assert body == {
        "Type": "User",
        "message": "Rate Exceeded.",
        "Reason": "CallerRateLimitExceeded",
    }


def test_an_error_that_is_not_modelled_has_no_type() -> None:
    assert told(AwsError("ValidationException", "no"))[::2] == (400, {"message": "no"})
    assert told(AwsError("AccessDeniedException", "no"))[::2] == (
        403,
        {"Message": "no"},
    )


def test_a_large_request_has_the_name_that_is_on_the_wire() -> None:
    status, headers, body = told(AwsError("RequestTooLargeException", "large"))

    assert (status, body) == (413, {"Type": "User", "message": "large"})
    assert headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException"


def test_every_error_there_is_can_be_written() -> None:
    for code in (*SERVICE.errors, *UNMODELLED):
        assert write_error(AwsError(code, "why"), "id-1").status >= 400


def test_an_error_of_no_known_name_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="NoSuchException is no error"):
        write_error(AwsError("NoSuchException", ""), "id-1")


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (InvalidParameter("m"), "InvalidParameterValueException", 400),
        (TooLarge("m"), "RequestTooLargeException", 413),
        (Unauthenticated("m"), "UnrecognizedClientException", 403),
        (
            Unauthenticated("m", reason="InvalidSignatureException"),
            "InvalidSignatureException",
            403,
        ),
        (PermissionDenied("m"), "AccessDeniedException", 403),
        (NotFound("m"), "ResourceNotFoundException", 404),
        (
            NotFound("m", reason="CodeSigningConfigNotFoundException"),
            "CodeSigningConfigNotFoundException",
            404,
        ),
        (AlreadyExists("m"), "ResourceConflictException", 409),
        (Conflict("m"), "ResourceConflictException", 409),
        (
            Conflict("m", reason="PreconditionFailed"),
            "PreconditionFailedException",
            412,
        ),
        (QuotaExceeded("m"), "InvalidParameterValueException", 400),
        (
            QuotaExceeded("m", reason="CodeStorageExceeded"),
            "CodeStorageExceededException",
            400,
        ),
        (DeadlineExceeded("m"), "DeadlineExceededException", 408),
        (NotSupported("m"), "InvalidParameterValueException", 400),
        (
            NotSupported("m", reason=OPERATION_NOT_SUPPORTED),
            "NotImplementedException",
            501,
        ),
        (Unavailable("m"), "ServiceException", 500),
        (Internal("m"), "ServiceException", 500),
    ],
)
def test_each_of_our_errors_has_an_aws_face(
    error: SandlotError, code: str, status: int
) -> None:
    face = aws_error_of(error)

    assert (face.code, face.message) == (code, "m")
    assert write_error(face, "id-1").status == status


UNREADABLE = (
    "Could not unzip uploaded file. Please check your file, then try to upload again."
)


@pytest.mark.parametrize(
    "text",
    [
        UNREADABLE,
        "Unzipped size must be smaller than 262144000 bytes",
        "Zipped size must be smaller than 52428800 bytes",
    ],
)
def test_a_text_of_awss_that_tools_compare_ends_where_awss_does(text: str) -> None:
    face = aws_error_of(InvalidParameter(f"{text} What is\nmore, for gRPC."))

    assert face.message == text


def test_no_class_of_errors_is_without_an_aws_name() -> None:
    known = SERVICE.errors.keys() | UNMODELLED.keys()
    waiting: list[type[SandlotError]] = [SandlotError]
    seen = set()
    while waiting:
        kind = waiting.pop()
        seen.add(kind)
        waiting += kind.__subclasses__()
        assert kind.aws in known

    assert {Refusal, Fault, Throttled} <= seen
