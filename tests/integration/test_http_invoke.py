"""Invoking over the real HTTP port: by boto3, and by bytes that boto3 never sends."""

import asyncio
import base64
import json
import re
from contextlib import closing
from typing import Any

import pytest

from sandlot_engine.errors import Internal, Throttled
from sandlot_engine.model.invocation import (
    Ended,
    Run,
)
from tests.fakes.backend import ACME, GLOBEX
from tests.integration.http_port import Port, answer_from, code_of, until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


# --- what goes well ---------------------------------------------------------------


async def test_boto3_invokes_and_is_answered(port: Port) -> None:
    answer = await port.invoke(Payload=b'{"a": 1}')

    assert (answer["StatusCode"], answer["Payload"]) == (200, b'{"a": 1}')
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert "LogResult" not in answer
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/json"
    assert headers["x-amzn-trace-id"].startswith("Root=1-")


async def test_the_request_id_is_the_invocations(port: Port) -> None:
    answer = await port.invoke()
    started = await port.engine.runner.started.get()

    assert answer["ResponseMetadata"]["RequestId"] == started.request_id
    assert UUID.fullmatch(started.request_id)


async def test_an_empty_event_is_an_empty_object(port: Port) -> None:
    assert (await port.invoke())["Payload"] == b"{}"


async def test_a_function_that_fails_is_not_a_failed_call(port: Port) -> None:
    port.engine.runner.answers["echo"] = Run(
        ended=Ended.EXITED, exit_code=3, duration_s=0.1, wait_s=0.0, max_memory_mb=9
    )

    answer = await port.invoke(LogType="Tail")

    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert b"exit status 3" in answer["Payload"]
    assert base64.b64decode(answer["LogResult"]).startswith(b"START RequestId: ")


async def test_the_client_context_arrives_decoded(port: Port) -> None:
    context = base64.b64encode(b'{"custom": {"a": 1}}').decode()

    await port.invoke(ClientContext=context)

    started = await port.engine.runner.started.get()
    assert started.client_context == '{"custom": {"a": 1}}'


async def test_an_event_has_no_client_context(port: Port) -> None:
    context = base64.b64encode(b'{"custom": {"a": 1}}').decode()

    await port.invoke(ClientContext=context, InvocationType="Event")

    started = await port.engine.runner.started.get()
    assert started.client_context == ""


@pytest.mark.parametrize(
    "name",
    [
        "echo",
        "echo:$LATEST",
        "function:echo",
        f"{ACME}:function:echo",
        f"arn:aws:lambda:eu-central-1:{ACME}:function:echo",
        f"arn:aws:lambda:eu-central-1:{ACME}:function:echo:$LATEST",
    ],
)
async def test_a_function_has_many_names(port: Port, name: str) -> None:
    assert (await port.invoke(name, Qualifier="$LATEST"))["StatusCode"] == 200


async def test_an_event_is_answered_at_once_and_run_later(port: Port) -> None:
    held = port.engine.runner.hold("slow")

    answer = await port.invoke("slow", InvocationType="Event")
    started = await port.engine.runner.started.get()
    held.set()

    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    assert "ExecutedVersion" not in answer
    assert answer["ResponseMetadata"]["RequestId"] == started.request_id
    await until(lambda: not port.engine.invoker.events.depths.queued)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_old_way_to_send_an_event_works(port: Port) -> None:
    answer = await port.call("invoke_async", FunctionName="echo", InvokeArgs=b'{"a":1}')
    started = await port.engine.runner.started.get()

    assert answer["Status"] == 202
    assert started.payload == b'{"a":1}'


async def test_a_dry_run_runs_nothing(port: Port) -> None:
    answer = await port.invoke(InvocationType="DryRun")

    assert answer["StatusCode"] == 204
    assert port.engine.runner.started.empty()


async def test_a_connection_takes_one_request_after_another(port: Port) -> None:
    async with port.connected() as (reader, writer):
        writer.write(port.signed(body=b"1") + port.signed(body=b"2"))

        first, second = await answer_from(reader), await answer_from(reader)

    assert (first[2], second[2]) == (b"1", b"2")


# --- whom we answer ---------------------------------------------------------------


async def test_the_signature_decides(port: Port) -> None:
    wrong = await port.exchange(port.signed(secret="wrong"))
    unknown = await port.exchange(port.signed(key="key-of-nobody"))
    nobody = await port.exchange(
        b"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nhost: x\r\n\r\n"
    )

    assert code_of(wrong) == (403, "InvalidSignatureException")
    assert code_of(unknown) == (403, "UnrecognizedClientException")
    assert code_of(nobody) == (403, "MissingAuthenticationTokenException")
    assert json.loads(nobody[2]) == {"message": "Missing Authentication Token"}
    assert port.engine.runner.started.empty()


async def test_a_stranger_is_refused_before_the_body_is_read(port: Port) -> None:
    request = port.signed(key="key-of-nobody", body=b"x" * 1_000_000)
    head = request[: request.index(b"\r\n\r\n") + 4]

    status, _, _ = await port.exchange(head)

    assert status == 403


async def test_a_declared_hash_is_checked_before_the_body_is_read(port: Port) -> None:
    declared = {"X-Amz-Content-SHA256": "00" * 32}
    request = port.signed(secret="wrong", body=b"x" * 100_000, headers=declared)
    head = request[: request.index(b"\r\n\r\n") + 4]

    early = await port.exchange(head)
    late = await port.exchange(port.signed(headers=declared))

    assert code_of(early) == code_of(late) == (403, "InvalidSignatureException")
    assert b"does not match what was computed" in late[2]


async def test_a_function_of_another_account_is_denied(port: Port) -> None:
    answer = await port.refused(
        FunctionName=f"arn:aws:lambda:eu-central-1:{GLOBEX}:function:theirs"
    )

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert answer["Error"]["Code"] == "AccessDeniedException"


async def test_a_function_of_another_tenant_is_not_found_by_its_name(
    port: Port,
) -> None:
    answer = await port.refused(FunctionName="theirs")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert answer["Error"]["Code"] == "ResourceNotFoundException"
    assert answer["Error"]["Message"] == (
        f"Function not found: arn:aws:lambda:eu-central-1:{ACME}:function:theirs"
        ":$LATEST"
    )


# --- what is wrong with a request -------------------------------------------------


async def test_what_is_no_json_is_refused(port: Port) -> None:
    answer = await port.refused(Payload=b"{not json")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["Error"]["Code"] == "InvalidRequestContentException"
    assert answer["Error"]["Message"].startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )


@pytest.mark.parametrize(
    ("name", "value", "constraint"),
    [
        (
            "InvocationType",
            "Sometime",
            "enum value set: [Event, RequestResponse, DryRun]",
        ),
        ("LogType", "All", "enum value set: [None, Tail]"),
        (
            "Qualifier",
            "a b",
            r"regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        ),
        ("TenantId", "!", r"regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"),
    ],
)
async def test_what_the_model_does_not_allow_is_refused_in_its_words(
    port: Port, name: str, value: str, constraint: str
) -> None:
    error = (await port.refused(**{name: value}))["Error"]

    member = name[0].lower() + name[1:]
    assert error["Code"] == "ValidationException"
    assert error["Message"] == (
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy "
        f"constraint: Member must satisfy {constraint}"
    )


@pytest.mark.parametrize(
    ("input_", "code", "part"),
    [
        (
            {"TenantId": "blue"},
            "InvalidParameterValueException",
            "tenancy configuration",
        ),
        (
            {"DurableExecutionName": "x"},
            "InvalidParameterValueException",
            "not a durable function",
        ),
        (
            {"ClientContext": "{}"},
            "InvalidRequestContentException",
            "valid Base64-encoded JSON",
        ),
        (
            {"FunctionName": "echo:1", "Qualifier": "2"},
            "InvalidParameterValueException",
            "derived qualifier",
        ),
        (
            {"FunctionName": f"arn:aws:lambda:us-east-1:{ACME}:function:echo"},
            "ResourceNotFoundException",
            "not reachable in this region",
        ),
        ({"FunctionName": "no", "TenantId": "b"}, "ResourceNotFoundException", ":no:"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    port: Port, input_: dict[str, str], code: str, part: str
) -> None:
    error = (await port.refused(**input_))["Error"]

    assert error["Code"] == code
    assert part in error["Message"]


async def test_a_client_context_has_a_limit(port: Port) -> None:
    fits = base64.b64encode(b'"' + b"x" * 2_683 + b'"').decode()

    await port.invoke(ClientContext=fits)
    answer = await port.refused(ClientContext=fits + "AAAA")

    assert len(fits) == 3_580  # base64 comes in fours
    assert answer["Error"]["Code"] == "InvalidRequestContentException"
    assert "of 3583 allowed" in answer["Error"]["Message"]


async def test_a_throttled_caller_is_told_why_and_when(port: Port) -> None:
    port.engine.runner.answers["echo"] = Throttled(
        "no room",
        reason="ConcurrentInvocationLimitExceeded",
        limit=1,
        retry_after_s=1.5,
    )

    status, headers, body = await port.exchange(port.signed())

    assert (status, headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")
    assert headers["retry-after"] == "2"
    assert json.loads(body) == {
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }


@pytest.mark.parametrize("error", [Internal("the node broke"), KeyError("secrets")])
async def test_what_is_our_fault_is_a_500_that_was_logged(
    port: Port, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    port.engine.runner.answers["echo"] = error

    answer = await port.refused()

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert answer["Error"]["Code"] == "ServiceException"
    assert "secrets" not in answer["Error"]["Message"]
    [record] = caplog.records
    assert record.__dict__["request_id"] == answer["ResponseMetadata"]["RequestId"]


def _whole(stream: Any) -> list[Any]:
    with closing(stream):
        return list(stream)


async def test_an_answer_comes_as_a_stream_of_events(port: Port) -> None:
    def run() -> Any:
        with closing(port.client()) as client:
            answer = client.invoke_with_response_stream(
                FunctionName="echo", Payload=b'{"x": 1}', LogType="Tail"
            )
            return answer["ExecutedVersion"], _whole(answer["EventStream"])

    version, events = await asyncio.to_thread(run)

    (piece, complete) = events
    assert version == "$LATEST"
    assert json.loads(piece["PayloadChunk"]["Payload"]) == {"x": 1}
    log = base64.b64decode(complete["InvokeComplete"]["LogResult"])
    assert b"REPORT" in log


async def test_a_stream_of_a_function_that_failed_ends_with_why(port: Port) -> None:
    port.engine.runner.answers["echo"] = Run(
        ended=Ended.FAILED,
        payload=b'{"errorMessage":"no"}',
        error_type="Bad",
        duration_s=0.001,
        wait_s=0.0,
        max_memory_mb=10,
    )

    def run() -> Any:
        with closing(port.client()) as client:
            answer = client.invoke_with_response_stream(FunctionName="echo")
            return _whole(answer["EventStream"])

    (complete,) = await asyncio.to_thread(run)

    assert complete["InvokeComplete"]["ErrorCode"] == "Bad"
    assert "no" in complete["InvokeComplete"]["ErrorDetails"]


async def test_an_event_has_no_stream(port: Port) -> None:
    answer = await port.refused(
        "invoke_with_response_stream", FunctionName="echo", InvocationType="Event"
    )

    assert answer["Error"]["Code"] == "ValidationException"
