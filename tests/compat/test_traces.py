"""What a function's SDK tells the next one of who called it, by boto3 as it is."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandlot import EventState
from tests.compat.clients import (
    REGION,
    Account,
    Cloud,
    Lambda,
    invoke,
    package,
    refused,
    said,
    unique,
)
from tests.compat.conftest import Create
from tests.e2e.waiting import DEADLINE_S
from tests.fakes.zips import zip_of

TRACED = package(
    "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']"
)
FAILING = package(
    "import os\n"
    "def handler(event, context):\n"
    "    raise ValueError(os.environ['_X_AMZN_TRACE_ID'])"
)
CALLING = """
import json, boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def handler(event, context):
    client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}),
                          **event["client"])
    names = event["names"]
    event |= {"round": event["round"] + 1, "names": names[::-1]}
    try:
        answer = client.invoke(FunctionName=names[0], Payload=json.dumps(event))
    except ClientError as error:
        return [event["round"], error.response["Error"]["Code"]]
    return json.loads(answer["Payload"].read())
"""
BOTO3 = ("boto3", "s3transfer", "botocore", "jmespath", "dateutil", "urllib3")
ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
CALLER = f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a function: there boto3 sends the trace along."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "any")
    return monkeypatch


def test_a_function_goes_on_with_its_caller_s_trace(
    aws: Lambda, create: Create, inside: pytest.MonkeyPatch
) -> None:
    name = create(TRACED)

    own = said(aws, name)
    inside.setenv("_X_AMZN_TRACE_ID", CALLER)
    answer = invoke(aws, name)
    told = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"]

    assert own.startswith("Root=1-")
    assert ";Parent=" in own
    assert ";Sampled=0;Lineage=" in own
    assert answer["Payload"].startswith(f"{CALLER};Lineage=")
    assert told == CALLER


def test_two_functions_that_call_each_other_by_boto3_are_stopped(
    aws: Lambda, create: Create, inside: pytest.MonkeyPatch
) -> None:
    one, other = create(TRACED), create(TRACED)

    for name in (one, other) * 16:
        inside.setenv("_X_AMZN_TRACE_ID", said(aws, name))
    refusal = refused(aws.invoke, FunctionName=one)
    streamed = refused(aws.invoke_with_response_stream, FunctionName=one)
    dry = refused(aws.invoke, FunctionName=one, InvocationType="DryRun")
    aws.put_function_recursion_config(FunctionName=one, RecursiveLoop="Allow")

    assert (refusal.status, refusal.code) == (400, "RecursiveInvocationException")
    assert dry == streamed == refusal
    assert ":17" in said(aws, one)


def test_an_event_that_boto3_sends_in_a_loop_does_not_run(
    aws: Lambda, account: Account, create: Create, inside: pytest.MonkeyPatch
) -> None:
    name = create(TRACED)

    for _ in range(16):
        inside.setenv("_X_AMZN_TRACE_ID", said(aws, name))
    sent = aws.invoke(FunctionName=name, InvocationType="Event")
    with account.grpc() as client:
        over = client.wait_event(
            sent["ResponseMetadata"]["RequestId"], deadline=DEADLINE_S
        )

    assert (over.state, over.condition) == (EventState.DEAD, "RecursiveInvocation")
    assert over.runs == 0


def test_an_event_goes_on_with_the_trace_of_its_sender(
    aws: Lambda, account: Account, create: Create, inside: pytest.MonkeyPatch
) -> None:
    name = create(FAILING)
    aws.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)

    inside.setenv("_X_AMZN_TRACE_ID", CALLER)
    sent = aws.invoke(FunctionName=name, InvocationType="Event")
    with account.grpc() as client:
        over = client.wait_event(
            sent["ResponseMetadata"]["RequestId"], deadline=DEADLINE_S
        )

    assert over.attempts[0].error.startswith(f"{CALLER};Lineage=")


def test_functions_in_their_jails_that_call_each_other_by_boto3_are_stopped(
    cloud: Cloud,
) -> None:
    account = cloud.account("callers", network="host")
    names = [unique("caller"), unique("caller")]
    code = zip_of({"app.py": CALLING, **dict(_boto3())})
    with account.grpc() as client:
        for name in names:
            client.deploy(
                code,
                name=name,
                handler="app.handler",
                network="host",
                timeout=60,
                memory=256,
            )

        told = said(
            account.aws(),
            names[0],
            {
                "round": 1,
                "names": names[::-1],
                "client": {
                    "region_name": REGION,
                    "endpoint_url": cloud.url,
                    "aws_access_key_id": account.key.access_key_id,
                    "aws_secret_access_key": account.key.secret_access_key,
                },
            },
        )

    assert told == [33, "RecursiveInvocationException"]


def _boto3() -> Iterator[tuple[str, bytes]]:
    """As it is installed here, of services Lambda alone."""
    site = Path(sysconfig.get_path("purelib"))
    yield "six.py", (site / "six.py").read_bytes()
    for path in sorted(each for name in BOTO3 for each in (site / name).rglob("*.*")):
        inside = path.relative_to(site).parts
        is_of_others = inside[1] == "data" and len(inside) > 3 and inside[2] != "lambda"
        if path.is_file() and "__pycache__" not in inside and not is_of_others:
            yield "/".join(inside), path.read_bytes()
