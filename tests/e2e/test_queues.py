"""Queues of a real SQS are read for functions of real engines; boto3 is on both sides.

Nothing that is in a queue is lost, whoever is killed."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from sandlot import Client, FunctionHandle, NewKey
from sandlot_engine.events.lineage import continued
from tests.e2e.conftest import client_of
from tests.e2e.engines import MODES, Engine, new_engine
from tests.e2e.waiting import wait_until
from tests.fakes.queues import REGION, Sqs, dead_letters_of, serving_sqs
from tests.fakes.zips import zip_of

WORKER = """
import json, time

def handler(event, context):
    print("GOT " + json.dumps(event))
    bodies = {each["messageId"]: each["body"] for each in event["Records"]}
    if "raise" in bodies.values():
        raise ValueError("a message that cannot be")
    time.sleep(max([float(body[5:]) for body in bodies.values() if body[:5] == "sleep"],
                   default=0))
    return {"batchItemFailures": [
        {"itemIdentifier": id} for id, body in bodies.items() if body == "bad"]}
"""


@dataclass
class World:
    """An engine that knows an SQS, and a tenant of both."""

    engine: Engine
    sqs: Sqs
    key: NewKey

    def restart(self) -> None:
        self.engine.start("--destination", f"sqs={self.sqs.url}")

    def client(self) -> Client:
        return client_of(self.engine, self.key)

    def aws(self) -> Any:
        session: Any = boto3.Session()
        return closing(
            session.client(
                "lambda",
                region_name=REGION,
                endpoint_url=self.engine.ready["http"],
                aws_access_key_id=self.key.access_key_id,
                aws_secret_access_key=self.key.secret_access_key,
            )
        )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_engine(MODES[0]) as engine:
        engine.start()
        key = engine.client().create_tenant("acme")
        engine.stop()
        with serving_sqs(key.tenant_id) as sqs:
            world = World(engine, sqs, key)
            world.restart()
            yield world


@pytest.fixture
def aws(world: World) -> Iterator[Any]:
    with world.aws() as client:
        yield client


@pytest.fixture
def worker(world: World) -> FunctionHandle:
    """Does what the messages say."""
    name = world.sqs.create("worker").replace(".", "-")
    return world.client().deploy(
        zip_of({"app.py": WORKER}), name=name, handler="app.handler", timeout=3
    )


@pytest.fixture
def mapped(world: World) -> Iterator[Any]:
    """`mapped(function, arn, …)`: a mapping's UUID; it is deleted after the test."""
    made: list[str] = []

    def create(function: FunctionHandle, arn: str, **settings: Any) -> str:
        with world.aws() as aws:
            answer = aws.create_event_source_mapping(
                FunctionName=function.name, EventSourceArn=arn, **settings
            )
        assert answer["State"] == "Creating"
        made.append(answer["UUID"])
        return made[-1]

    yield create
    # The engine may be another, at another port.
    with world.aws() as aws:
        for uuid in made:
            aws.delete_event_source_mapping(UUID=uuid)


def events(function: FunctionHandle) -> list[Any]:
    """What it was invoked with, so far."""
    lines = [line.text for line in function.logs()]
    return [json.loads(line[4:]) for line in lines if line.startswith("GOT ")]


def bodies(function: FunctionHandle) -> list[str]:
    return [record["body"] for event in events(function) for record in event["Records"]]


def wait_empty(sqs: Sqs, queue: str) -> None:
    wait_until(lambda: sqs.counts(queue) == (0, 0), f"{queue} is empty")


def test_a_message_is_a_record_and_is_deleted(
    world: World, aws: Any, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, queue = world.sqs, world.sqs.create()
    uuid = mapped(worker, sqs.arn(queue))
    attributes = {
        "colour": {"DataType": "String", "StringValue": "grün"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }

    sent = sqs.send(queue, '{"n": 1}', MessageAttributes=attributes)

    wait_empty(sqs, queue)
    [event] = wait_until(lambda: events(worker), "it has the message")
    [record] = event["Records"]
    assert record["messageId"] == sent
    assert record["body"] == '{"n": 1}'
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["colour"]["stringValue"] == "grün"
    assert record["messageAttributes"]["raw"]["binaryValue"] == "AP8="
    assert record["eventSourceARN"] == sqs.arn(queue)
    assert record["awsRegion"] == REGION
    told = aws.get_event_source_mapping(UUID=uuid)
    assert (told["State"], told["StateTransitionReason"]) == (
        "Enabled",
        "USER_INITIATED",
    )
    assert told["LastProcessingResult"] == "OK"


def test_what_fails_ends_in_the_queue_s_own_dead_letter_queue(
    world: World, aws: Any, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, dead = world.sqs, world.sqs.create("dead")
    policy = dead_letters_of(sqs.arn(dead), tries=2)
    queue = sqs.create(VisibilityTimeout="3", RedrivePolicy=policy)
    uuid = mapped(worker, sqs.arn(queue))

    sqs.send(queue, "raise")

    wait_until(lambda: bodies(worker), "it is run")
    wait_until(
        lambda: (
            aws.get_event_source_mapping(UUID=uuid)["LastProcessingResult"]
            == "PROBLEM: Function call failed"
        ),
        "the mapping says so",
    )
    wait_until(lambda: sqs.counts(dead) == (1, 0), "it is a dead letter")
    assert sqs.receive(dead) == ["raise"]
    assert bodies(worker) == ["raise"] * 2


def test_a_message_in_a_loop_ends_in_the_queue_s_own_dead_letter_queue(
    world: World, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, dead = world.sqs, world.sqs.create("dead")
    policy = dead_letters_of(sqs.arn(dead), tries=2)
    queue = sqs.create(VisibilityTimeout="3", RedrivePolicy=policy)
    once = continued("", world.key.tenant_id, worker.name)
    trace = {"DataType": "String", "StringValue": f"Lineage={once}"}
    loop = trace | {"StringValue": f"Lineage={once.replace(':1', ':16')}"}
    for body, header in (("once", trace), ("often", loop)):
        sqs.send(queue, body, MessageSystemAttributes={"AWSTraceHeader": header})

    mapped(worker, sqs.arn(queue))

    wait_until(lambda: sqs.counts(dead) == (1, 0), "one is a dead letter")
    assert sqs.receive(dead) == ["often"]
    assert bodies(worker) == ["once"]


def test_only_the_messages_that_failed_come_again(
    world: World, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, dead = world.sqs, world.sqs.create("dead")
    policy = dead_letters_of(sqs.arn(dead), tries=1)
    queue = sqs.create(VisibilityTimeout="3", RedrivePolicy=policy)
    sqs.send_all(queue, ["good", "bad", "better"])

    mapped(worker, sqs.arn(queue), FunctionResponseTypes=["ReportBatchItemFailures"])

    wait_until(lambda: sqs.counts(dead) == (1, 0), "one is a dead letter")
    assert sqs.receive(dead) == ["bad"]
    assert sqs.counts(queue) == (0, 0)
    assert sorted(bodies(worker)) == ["bad", "better", "good"]


def test_messages_wait_for_others_to_make_a_batch(
    world: World, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, queue = world.sqs, world.sqs.create()
    sqs.send_all(queue, [str(number) for number in range(25)])

    mapped(worker, sqs.arn(queue), BatchSize=20, MaximumBatchingWindowInSeconds=3)

    wait_empty(sqs, queue)
    sizes = wait_until(
        lambda: len(found := [len(e["Records"]) for e in events(worker)]) > 1 and found,
        "there are two batches",
    )
    assert sizes == [20, 5]


def test_what_no_pattern_chooses_is_deleted(
    world: World, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, queue = world.sqs, world.sqs.create()
    sqs.send_all(queue, ['{"kind": "order"}', '{"kind": "note"}', "a text"])
    pattern = json.dumps({"body": {"kind": ["order"]}})

    mapped(worker, sqs.arn(queue), FilterCriteria={"Filters": [{"Pattern": pattern}]})

    wait_empty(sqs, queue)
    wait_until(lambda: bodies(worker) == ['{"kind": "order"}'], "it has the order")


def test_a_group_s_messages_come_in_order(
    world: World, worker: FunctionHandle, mapped: Any
) -> None:
    sqs = world.sqs
    queue = sqs.create(FifoQueue="true", ContentBasedDeduplication="true")
    sent = [f"{number}" for number in range(25)]
    for body in sent:
        sqs.send(queue, body, MessageGroupId="all")

    mapped(worker, sqs.arn(queue))

    wait_empty(sqs, queue)
    wait_until(lambda: len(bodies(worker)) >= 25, "all are there")
    assert bodies(worker) == sent
    assert events(worker)[0]["Records"][0]["attributes"]["MessageGroupId"] == "all"


def test_what_finds_no_room_waits_for_it_and_loses_no_try(
    world: World, aws: Any, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, dead = world.sqs, world.sqs.create("dead")
    policy = dead_letters_of(sqs.arn(dead), tries=1)
    queue = sqs.create(VisibilityTimeout="30", RedrivePolicy=policy)
    aws.put_function_concurrency(
        FunctionName=worker.name, ReservedConcurrentExecutions=1
    )
    sent = [f"sleep0.0{number:02}" for number in range(40)]
    sqs.send_all(queue, sent)

    mapped(worker, sqs.arn(queue), BatchSize=1)

    wait_empty(sqs, queue)
    assert sqs.counts(dead) == (0, 0)
    wait_until(lambda: len(bodies(worker)) == 40, "all have run, once")
    assert sorted(bodies(worker)) == sent


def test_a_mapping_is_disabled_and_enabled_again(
    world: World, aws: Any, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, queue = world.sqs, world.sqs.create()
    uuid = mapped(worker, sqs.arn(queue), Enabled=False)
    sqs.send(queue, "early")

    assert aws.get_event_source_mapping(UUID=uuid)["State"] == "Disabled"
    assert sqs.counts(queue) == (1, 0)
    answer = aws.update_event_source_mapping(UUID=uuid, Enabled=True)
    wait_empty(sqs, queue)
    ended = aws.update_event_source_mapping(UUID=uuid, Enabled=False)
    wait_until(
        lambda: aws.get_event_source_mapping(UUID=uuid)["State"] == "Disabled",
        "nothing of it runs",
    )
    sqs.send(queue, "late")

    assert (answer["State"], ended["State"]) == ("Enabling", "Disabling")
    wait_until(lambda: bodies(worker), "it had the first")
    assert bodies(worker) == ["early"]
    assert sqs.counts(queue) == (1, 0)


def test_nothing_is_lost_when_the_engine_is_killed(
    world: World, worker: FunctionHandle
) -> None:
    sqs, queue = world.sqs, world.sqs.create(VisibilityTimeout="5")
    with world.aws() as aws:
        uuid = aws.create_event_source_mapping(
            FunctionName=worker.name, EventSourceArn=sqs.arn(queue), BatchSize=5
        )["UUID"]
    sent = [f"sleep0.{number:03}" for number in range(200)]
    sqs.send_all(queue, sent)
    wait_until(lambda: sum(sqs.counts(queue)) < 190, "it is in the middle of it")

    os.kill(world.engine.pid, signal.SIGKILL)
    world.engine.wait()
    left = sum(sqs.counts(queue))
    world.restart()

    assert left > 0
    wait_empty(sqs, queue)
    again = world.client().function(worker.name)
    wait_until(lambda: set(bodies(again)) >= set(sent[-20:]), "the last are there")
    with world.aws() as aws:
        assert aws.get_event_source_mapping(UUID=uuid)["State"] == "Enabled"
        aws.delete_event_source_mapping(UUID=uuid)


def test_a_stop_lets_batches_end_and_deletes_their_messages(
    world: World, worker: FunctionHandle, mapped: Any
) -> None:
    sqs, queue = world.sqs, world.sqs.create()
    mapped(worker, sqs.arn(queue))
    sqs.send(queue, "sleep1")
    wait_until(lambda: sqs.counts(queue) == (0, 1), "it has the message")

    assert world.engine.stop() == 0
    left = sqs.counts(queue)
    world.restart()

    assert left == (0, 0)


def test_what_cannot_be_read_is_refused_or_says_so(
    world: World, aws: Any, worker: FunctionHandle
) -> None:
    sqs = world.sqs
    short = sqs.create(VisibilityTimeout="2")

    def refused(arn: str) -> str:
        with pytest.raises(aws.exceptions.InvalidParameterValueException) as caught:
            aws.create_event_source_mapping(
                FunctionName=worker.name, EventSourceArn=arn
            )
        return str(caught.value)

    assert "AWS.SimpleQueueService.NonExistentQueue" in refused(sqs.arn("nothing"))
    assert "visibility timeout: 2 seconds is less than" in refused(sqs.arn(short))
    others = f"arn:aws:sqs:{REGION}:999999999999:jobs"
    made = aws.create_event_source_mapping(
        FunctionName=worker.name, EventSourceArn=others
    )
    told = aws.get_event_source_mapping(UUID=made["UUID"])
    aws.delete_event_source_mapping(UUID=made["UUID"])
    assert told["State"] == "Disabled"
    assert "another account" in told["StateTransitionReason"]
