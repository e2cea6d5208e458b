"""Invoking by boto3: how, with what, and what comes back."""

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.compat.clients import (
    Account,
    Cloud,
    Lambda,
    Refused,
    invalid,
    invoke,
    new_function,
    package,
    refusal_of,
    refused,
    said,
    saying,
    wait_active,
)
from tests.compat.conftest import Create
from tests.e2e.conftest import guest_zip
from tests.e2e.waiting import wait_until

MOST_IN = 6_291_456
MOST_OUT = 6_291_556
MOST_OF_AN_EVENT = 1_048_576


def test_an_answer_says_what_ran_and_nothing_of_an_error(
    aws: Lambda, create: Create
) -> None:
    name = create(package("def handler(event, context): return [event]"))

    answer = invoke(aws, name, {"greeting": "Grüße"})

    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["Payload"] == [{"greeting": "Grüße"}]
    assert not {"FunctionError", "LogResult"} & set(answer)


def test_without_a_payload_the_event_is_an_empty_object(
    aws: Lambda, create: Create
) -> None:
    name = create(package("def handler(event, context): return [event]"))

    answer = aws.invoke(FunctionName=name)

    with answer["Payload"] as payload:
        assert json.loads(payload.read()) == [{}]


def test_the_id_of_a_request_is_that_of_the_invocation(
    aws: Lambda, create: Create
) -> None:
    name = create(package("def handler(event, context): return context.aws_request_id"))

    answer = invoke(aws, name)

    assert answer["Payload"] == answer["ResponseMetadata"]["RequestId"]


def test_a_tail_is_the_log_of_the_invocation(aws: Lambda, create: Create) -> None:
    name = create(package("def handler(event, context): print('said ' * event)"))

    answer = invoke(aws, name, 2, LogType="Tail")
    long = invoke(aws, name, 2_000, LogType="Tail")

    tail = base64.b64decode(answer["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    first, second, *_ = tail.splitlines()
    assert first == f"START RequestId: {request_id} Version: $LATEST"
    assert second == "said said "
    assert f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\t" in tail
    assert len(base64.b64decode(long["LogResult"])) == 4_096


def test_a_client_context_reaches_the_function(aws: Lambda, create: Create) -> None:
    name = create(guest_zip("about"), Handler="about.handler")
    context = {"custom": {"a": "1"}, "env": {"b": "2"}, "client": {"app_title": "x"}}

    seen = said(
        aws,
        name,
        ClientContext=base64.b64encode(json.dumps(context).encode()).decode(),
    )

    assert seen["client_context"] == {
        "custom": {"a": "1"},
        "env": {"b": "2"},
        "app_title": "x",
    }


def test_the_context_names_the_function_as_it_was_called(
    account: Account, create: Create
) -> None:
    name = create(guest_zip("about"), Handler="about.handler", Publish=True)

    for region in ("eu-central-1", "ap-southeast-2"):
        aws = account.aws(region)
        arn = account.arn(name, region)
        for called in (name, f"{name}:$LATEST", arn):
            seen = said(aws, called)["context"]
            qualifier = ":$LATEST" if called.endswith("$LATEST") else ""
            assert seen["invoked_function_arn"] == arn + qualifier
            assert seen["function_name"] == name
            assert seen["function_version"] == "$LATEST"
            assert seen["memory_limit_in_mb"] == "128"
            assert seen["log_group_name"] == f"/aws/lambda/{name}"


# --- what fails ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"how": "exit", "status": 0}, "Runtime exited without providing a reason"),
        (
            {"how": "_exit", "status": 127},
            "Runtime exited with error: exit status 127",
        ),
    ],
    ids=["exit 0", "exit 127"],
)
def test_a_function_that_exits_is_told_as_aws_tells_it(
    aws: Lambda, create: Create, event: dict[str, Any], error: str
) -> None:
    name = create(guest_zip("failing"), Handler="failing.handler")

    answer = invoke(aws, name, event)

    request_id = answer["ResponseMetadata"]["RequestId"]
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"] == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {error}",
    }


def test_an_exception_is_told_with_its_trace(aws: Lambda, create: Create) -> None:
    name = create(guest_zip("failing"), Handler="failing.handler")

    answer = invoke(aws, name, {"how": "raise"})

    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = answer["Payload"]
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert error["errorMessage"] == "Handler fails"
    assert error["errorType"] == "CustomError"
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert '  File "/var/task/failing.py", line' in error["stackTrace"][-1]


def test_a_timeout_is_told_with_two_decimals(aws: Lambda, create: Create) -> None:
    name = create(guest_zip("failing"), Handler="failing.handler", Timeout=1)

    answer = invoke(aws, name, {"how": "sleep"})

    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"] == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 "
        "seconds",
    }


def test_a_failed_import_has_an_empty_request_id(aws: Lambda, create: Create) -> None:
    name = create(package("raise ValueError('not today')"))

    answer = invoke(aws, name)

    assert answer["FunctionError"] == "Unhandled"
    error = answer["Payload"]
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "not today")
    assert error["requestId"] == ""


# --- sizes --------------------------------------------------------------------


def test_an_event_may_have_six_megabytes_to_the_byte(
    aws: Lambda, create: Create
) -> None:
    name = create(package("def handler(event, context): return len(event)"))
    largest = b'"' + b"x" * (MOST_IN - 2) + b'"'

    answer = aws.invoke(FunctionName=name, Payload=largest)
    refusal = refused(aws.invoke, FunctionName=name, Payload=largest + b" ")

    with answer["Payload"] as payload:
        assert json.loads(payload.read()) == MOST_IN - 2
    assert refusal == Refused(
        413,
        "RequestEntityTooLargeException",
        f"{MOST_IN + 1} byte payload is too large for the RequestResponse invocation "
        f"type (limit {MOST_IN} bytes)",
    )


def test_an_answer_may_have_a_hundred_bytes_more_to_the_byte(
    aws: Lambda, create: Create
) -> None:
    name = create(guest_zip("failing"), Handler="failing.handler", MemorySize=512)

    largest = said(aws, name, {"how": "answer", "size": MOST_OUT})
    answer = invoke(aws, name, {"how": "answer", "size": MOST_OUT + 1})

    assert len(largest) == MOST_OUT - 2
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"] == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size "
        f"({MOST_OUT} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }


def test_an_event_that_waits_may_have_a_megabyte(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    largest = b'"' + b"x" * (MOST_OF_AN_EVENT - 2) + b'"'

    answer = aws.invoke(FunctionName=name, InvocationType="Event", Payload=largest)
    answer["Payload"].close()
    refusal = refused(
        aws.invoke, FunctionName=name, InvocationType="Event", Payload=largest + b" "
    )

    assert answer["StatusCode"] == 202
    assert refusal == Refused(
        413,
        "RequestEntityTooLargeException",
        f"{MOST_OF_AN_EVENT + 1} byte payload is too large for the Event invocation "
        f"type (limit {MOST_OF_AN_EVENT} bytes)",
    )


def test_what_is_no_json_is_refused(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    refusal = refused(aws.invoke, FunctionName=name, Payload=b"{no json")

    assert (refusal.status, refusal.code) == (400, "InvalidRequestContentException")
    assert refusal.message.startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )


# --- types --------------------------------------------------------------------


def test_a_dry_run_checks_and_runs_nothing(aws: Lambda, create: Create) -> None:
    name = create(guest_zip("counter"), Handler="counter.handler")

    answer = aws.invoke(FunctionName=name, InvocationType="DryRun")
    answer["Payload"].close()
    missing = refused(aws.invoke, FunctionName=f"{name}:7", InvocationType="DryRun")

    assert answer["StatusCode"] == 204
    assert not {"ExecutedVersion", "FunctionError"} & set(answer)
    assert missing.status == 404
    assert said(aws, name, {})["count"] == 1


def test_an_event_is_answered_at_once_and_run_later(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(guest_zip("counter"), Handler="counter.handler")

    answer = aws.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")

    with answer["Payload"] as payload:
        assert payload.read() == b""
    assert answer["StatusCode"] == 202
    assert not {"ExecutedVersion", "FunctionError"} & set(answer)
    runs = account.grpc().function(name).runs
    (run,) = wait_until(lambda: list(runs()), "the event has run")
    assert run.request_id == answer["ResponseMetadata"]["RequestId"]


def test_the_old_invoke_async_is_an_event(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(guest_zip("counter"), Handler="counter.handler")

    answer = aws.invoke_async(FunctionName=name, InvokeArgs=b"{}")

    assert answer["Status"] == 202
    runs = account.grpc().function(name).runs
    assert wait_until(lambda: list(runs()), "the event has run")


# --- tenant isolation ---------------------------------------------------------


def test_an_instance_serves_one_tenant_id_alone(aws: Lambda, create: Create) -> None:
    source = (
        "seen = set()\ndef handler(event, context):\n"
        "    seen.add(context.tenant_id)\n    return sorted(seen)"
    )
    name = create(package(source), TenancyConfig={"TenantIsolationMode": "PER_TENANT"})

    seen = [said(aws, name, TenantId=id_) for id_ in ("ada", "bob", "ada", "bob")]

    assert seen == [["ada"], ["bob"], ["ada"], ["bob"]]
    shown = aws.get_function_configuration(FunctionName=name)
    assert shown["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}


def test_a_tenant_id_is_needed_where_there_is_isolation_and_refused_elsewhere(
    aws: Lambda, create: Create
) -> None:
    isolated = create(saying("x"), TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    plain = create(saying("x"))

    missing = refused(aws.invoke, FunctionName=isolated)
    needless = refused(aws.invoke, FunctionName=plain, TenantId="ada")

    for refusal in (missing, needless):
        assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
        assert "tenant" in refusal.message.lower()


# --- concurrency --------------------------------------------------------------


def test_what_is_reserved_as_nothing_runs_nothing(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    put = aws.put_function_concurrency(
        FunctionName=name, ReservedConcurrentExecutions=0
    )

    with pytest.raises(ClientError) as caught:
        aws.invoke(FunctionName=name)
    refusal = refusal_of(caught.value)
    aws.delete_function_concurrency(FunctionName=name)

    assert put["ReservedConcurrentExecutions"] == 0
    assert refusal == Refused(429, "TooManyRequestsException", "Rate Exceeded.")
    assert refusal.members["Reason"] == (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    )
    assert refusal.members["Type"] == "User"
    assert said(aws, name) == "a word"


def test_an_account_over_its_concurrency_is_throttled(cloud: Cloud) -> None:
    aws = cloud.account(concurrency=1).aws()
    name = aws.create_function(**new_function(saying("x"), FunctionName="reserving"))[
        "FunctionName"
    ]
    wait_active(aws, name)

    refusal = refused(
        aws.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=1
    )

    assert refusal == invalid(
        "Specified ReservedConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [1]."
    )
    aws.delete_function(FunctionName=name)
