"""Events of real engines: nothing that was accepted is lost, whoever is killed."""

import json
import os
import signal
from collections.abc import Iterator

import boto3
import pytest

from sandlot import Client, EventState, errors
from tests.e2e import processes
from tests.e2e.bills import bill_of
from tests.e2e.conftest import client_of, deploy_guest, guest_zip
from tests.e2e.engines import Engine
from tests.e2e.processes import Role
from tests.e2e.waiting import DEADLINE_S, wait_until
from tests.fakes.aws_endpoint import Service
from tests.fakes.zips import zip_of

RAISES = json.dumps({"how": "raise"}).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def _started(engine: Engine, *options: str) -> Client:
    engine.start(*options)
    return engine.client()


@pytest.mark.parametrize("victim", [Role.ENGINE, Role.LAUNCHER], ids=str)
def test_what_was_accepted_is_run_whoever_is_killed(
    fresh_engine: Engine, victim: Role
) -> None:
    function = deploy_guest(fresh_engine.client(), "counter")
    tickets = [function.enqueue({"n": number}).request_id for number in range(200)]
    family = processes.family_of(fresh_engine.pid)

    os.kill(family.only(victim).pid, signal.SIGKILL)

    if victim is Role.ENGINE:
        assert fresh_engine.wait() != 0
        client = _started(fresh_engine)
    else:
        client = fresh_engine.client()
    told = [client.wait_event(ticket, deadline=DEADLINE_S) for ticket in tickets]
    assert {event.state for event in told} == {EventState.SUCCEEDED}
    billed = sum(attempt.billed for event in told for attempt in event.attempts)
    (line,) = bill_of(client).lines
    assert line.invocations == billed


def test_an_event_that_ran_when_the_engine_died_says_so(fresh_engine: Engine) -> None:
    function = deploy_guest(fresh_engine.client(), "failing")
    ticket = function.enqueue(payload=json.dumps({"how": "sleep"}).encode())
    client = fresh_engine.client()
    wait_until(
        lambda: client.event(ticket.request_id).state is EventState.RUNNING,
        "the event runs",
    )
    wait_until(lambda: client.status().instances, "its instance is there")

    os.kill(fresh_engine.pid, signal.SIGKILL)
    fresh_engine.wait()
    client = _started(fresh_engine)

    told = client.event(ticket.request_id)
    assert [attempt.status for attempt in told.attempts] == ["interrupted"]
    assert not told.is_over
    assert bill_of(client).lines == ()


WORKS_ON = """#!/bin/bash
# An extension that is told of an event, and when that is answered has more to do.
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
headers=$(mktemp)
curl -sS -D "$headers" -o /dev/null -X POST "$api/register" \\
  -H "Lambda-Extension-Name: works-on" -d '{"events": ["INVOKE"]}'
id=$(grep -Fi Lambda-Extension-Identifier "$headers" | tr -d '[:space:]' | cut -d: -f2)
curl -sS "$api/event/next" -H "Lambda-Extension-Identifier: $id"
until [ -e /tmp/answered ]; do sleep 0.01; done
exec -a works-on sleep 99
"""

ANSWERS = """#!/bin/bash
# The engine has an answer when it says that it does.
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
headers=$(mktemp)
curl -sS -D "$headers" -o /dev/null "$api/next"
id=$(grep -Fi Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
curl -sS -o /dev/null -X POST "$api/$id/response" -d '{}'
touch /tmp/answered
curl -sS "$api/next"
"""


def test_what_has_answered_when_the_engine_is_hurried_is_billed(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    files = {"extensions/works-on": WORKS_ON}
    layer = zip_of(files, modes=dict.fromkeys(files, 0o100755))
    function = client.deploy(
        zip_of({"bootstrap": ANSWERS}, modes={"bootstrap": 0o100755}),
        name="answers",
        runtime="provided.al2023",
        timeout=60,
        layers=[client.publish_layer(layer, name="works-on").arn],
    )
    ticket = function.enqueue({})
    wait_until(
        lambda: processes.family_of(fresh_engine.pid).marked("works-on"),
        "it has answered, and its extension works on",
    )

    fresh_engine.terminate()
    wait_until(lambda: "draining" in fresh_engine.said, "it drains")
    fresh_engine.terminate()
    assert fresh_engine.wait() == 0
    client = _started(fresh_engine)

    assert client.event(ticket.request_id).attempts[0].billed


def test_a_failing_function_is_tried_three_times_and_then_told_of(
    unstarted_engine: Engine, service: Service
) -> None:
    client = _started(
        unstarted_engine,
        *("--event-retry-delays", "0.1,0.2"),
        *("--destination", f"sqs={service.url}"),
    )
    key = client.create_tenant("acme")
    acme = client_of(unstarted_engine, key)
    function = deploy_guest(acme, "failing")
    session = boto3.Session()
    aws = session.client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=unstarted_engine.ready["http"],
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
    )
    queue = f"arn:aws:sqs:us-east-1:{key.tenant_id}:jobs"
    aws.put_function_event_invoke_config(
        FunctionName=function.name,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )

    told = function.enqueue(payload=RAISES).wait(deadline=DEADLINE_S)
    aws.close()

    record = json.loads(json.loads(service.body)["MessageBody"])
    assert told.state is EventState.FAILED
    assert [attempt.error for attempt in told.attempts] == ["Handler fails"] * 3
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"how": "raise"}
    assert record["responsePayload"]["errorType"] == "CustomError"
    assert bill_of(acme).total.invocations == 3


def test_a_dead_event_is_run_again_when_it_was_mended(
    unstarted_engine: Engine,
) -> None:
    client = _started(unstarted_engine, "--event-retry-delays", "0,0")
    function = deploy_guest(client, "failing")
    ticket = function.enqueue(payload=RAISES)
    dead = ticket.wait(deadline=DEADLINE_S)
    client.deploy(
        guest_zip("counter"), name=function.name, handler="counter.handler", timeout=60
    )

    assert client.redrive_events(function.name) == 1
    again = ticket.wait(deadline=DEADLINE_S)

    assert (dead.state, dead.condition) == (EventState.DEAD, "RetriesExhausted")
    assert (again.state, again.runs) == (EventState.SUCCEEDED, 4)
    with pytest.raises(errors.NotFound):
        client.redrive_events(request_id=ticket.request_id)
