"""What a function's SDK tells the next one of who called it, by boto3 as it is."""

import pytest

from sandlot import EventState
from tests.compat.clients import Account, Lambda, invoke, package, refused, said
from tests.compat.conftest import Create
from tests.e2e.waiting import DEADLINE_S

TRACED = package(
    "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']"
)
FAILING = package(
    "import os\n"
    "def handler(event, context):\n"
    "    raise ValueError(os.environ['_X_AMZN_TRACE_ID'])"
)
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
