"""EventBridge Scheduler by boto3, which fires functions of a real engine."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandlot import Client, Status
from tests.compat.clients import (
    REGION,
    ROLE,
    Account,
    Cloud,
    Refused,
    package,
    refused,
    saying,
    unique,
)
from tests.compat.conftest import Create
from tests.e2e.waiting import wait_until

PRINTING = package(
    "import json\ndef handler(event, context): print('GOT', json.dumps(event))"
)
OFF = {"Mode": "OFF"}
DLQ = f"arn:aws:sqs:{REGION}:123456789012:dead"


@pytest.fixture(scope="session")
def scheduler(account: Account) -> Any:
    return account.scheduler()


@pytest.fixture
def function(account: Account, create: Create) -> str:
    """The ARN of one that prints its event."""
    return account.arn(create(PRINTING))


@pytest.fixture
def name(scheduler: Any) -> Iterator[str]:
    """Of a schedule that is deleted after the test, if it is still there."""
    name = unique("schedule")
    yield name
    try:
        scheduler.delete_schedule(Name=name)
    except scheduler.exceptions.ResourceNotFoundException:
        return


def schedule(name: str, function: str, **settings: Any) -> dict[str, Any]:
    target = {"Arn": function, "RoleArn": ROLE, **settings.pop("Target", {})}
    return {
        "Name": name,
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": OFF,
        # What is not to run during the tests.
        "StartDate": datetime.now(UTC).replace(microsecond=0) + timedelta(days=1),
        "Target": target,
    } | settings


def test_a_schedule_is_shown_as_it_was_made(
    scheduler: Any, account: Account, function: str, name: str
) -> None:
    start = datetime(2040, 1, 1, tzinfo=UTC)
    end = datetime(2041, 1, 1, tzinfo=UTC)

    made = scheduler.create_schedule(
        **schedule(
            name,
            function,
            ScheduleExpression="cron(0 8 ? * MON-FRI *)",
            ScheduleExpressionTimezone="Europe/Berlin",
            StartDate=start,
            EndDate=end,
            Description="every morning",
            State="DISABLED",
            FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
            ActionAfterCompletion="DELETE",
            Target={
                "Input": '{"n": 1}',
                "RetryPolicy": {
                    "MaximumRetryAttempts": 3,
                    "MaximumEventAgeInSeconds": 600,
                },
                "DeadLetterConfig": {"Arn": DLQ},
            },
        )
    )
    shown = scheduler.get_schedule(Name=name)

    arn = f"arn:aws:scheduler:{REGION}:{account.id}:schedule/default/{name}"
    assert made["ScheduleArn"] == arn
    del shown["ResponseMetadata"], shown["CreationDate"], shown["LastModificationDate"]
    assert shown == {
        "Arn": arn,
        "GroupName": "default",
        "Name": name,
        "ScheduleExpression": "cron(0 8 ? * MON-FRI *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "StartDate": start,
        "EndDate": end,
        "Description": "every morning",
        "State": "DISABLED",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": function,
            "RoleArn": ROLE,
            "Input": '{"n": 1}',
            "RetryPolicy": {
                "MaximumRetryAttempts": 3,
                "MaximumEventAgeInSeconds": 600,
            },
            "DeadLetterConfig": {"Arn": DLQ},
        },
    }


def test_a_target_that_is_not_there_is_named_as_it_was(
    scheduler: Any, account: Account, name: str
) -> None:
    missing = account.arn("missing")

    refusal = refused(scheduler.create_schedule, **schedule(name, missing))

    assert (refusal.code, refusal.message) == (
        "ValidationException",
        f"Function not found: {missing}",
    )


def test_an_update_is_of_the_whole(scheduler: Any, function: str, name: str) -> None:
    scheduler.create_schedule(
        **schedule(name, function, Description="x", State="DISABLED")
    )

    scheduler.update_schedule(
        **schedule(name, function, ScheduleExpression="rate(2 days)")
    )

    shown = scheduler.get_schedule(Name=name)
    assert shown["ScheduleExpression"] == "rate(2 days)"
    assert shown["State"] == "ENABLED"
    assert "Description" not in shown
    assert shown["Target"]["RetryPolicy"] == {
        "MaximumRetryAttempts": 185,
        "MaximumEventAgeInSeconds": 86_400,
    }


def test_schedules_are_listed_by_group_prefix_and_state(
    scheduler: Any, function: str
) -> None:
    group, stem = unique("group"), unique("listed")
    scheduler.create_schedule_group(Name=group)
    for number, state in enumerate(("ENABLED", "DISABLED", "ENABLED")):
        scheduler.create_schedule(
            **schedule(f"{stem}-{number}", function, GroupName=group, State=state)
        )

    everything = scheduler.list_schedules(GroupName=group)["Schedules"]
    paused = scheduler.list_schedules(NamePrefix=stem, State="DISABLED")["Schedules"]
    pages = scheduler.get_paginator("list_schedules").paginate(
        GroupName=group, PaginationConfig={"PageSize": 2}
    )
    paged = [one["Name"] for page in pages for one in page["Schedules"]]
    scheduler.delete_schedule_group(Name=group)

    assert [one["Name"] for one in everything] == [f"{stem}-{n}" for n in range(3)]
    assert everything[0]["Target"] == {"Arn": function}
    assert [one["Name"] for one in paused] == [f"{stem}-1"]
    assert paged == [f"{stem}-{n}" for n in range(3)]
    assert scheduler.list_schedules(NamePrefix=stem)["Schedules"] == []


def test_groups_have_tags(scheduler: Any, account: Account) -> None:
    group = unique("group")
    arn = scheduler.create_schedule_group(
        Name=group, Tags=[{"Key": "team", "Value": "a"}]
    )["ScheduleGroupArn"]

    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "cost", "Value": "7"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["team"])
    tags = scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"]
    shown = scheduler.get_schedule_group(Name=group)
    listed = scheduler.list_schedule_groups(NamePrefix=group)["ScheduleGroups"]
    scheduler.delete_schedule_group(Name=group)

    assert arn == f"arn:aws:scheduler:{REGION}:{account.id}:schedule-group/{group}"
    assert tags == [{"Key": "cost", "Value": "7"}]
    assert (shown["Arn"], shown["State"]) == (arn, "ACTIVE")
    assert [one["Name"] for one in listed] == [group]
    assert (
        refused(scheduler.get_schedule_group, Name=group).code
        == "ResourceNotFoundException"
    )


def test_the_same_call_again_makes_no_second_schedule(
    scheduler: Any, function: str, name: str
) -> None:
    given = schedule(name, function)
    first = scheduler.create_schedule(**given, ClientToken="token-1")

    again = scheduler.create_schedule(**given, ClientToken="token-1")

    assert again["ScheduleArn"] == first["ScheduleArn"]
    assert refused(
        scheduler.create_schedule, **given, ClientToken="token-2"
    ) == Refused(409, "ConflictException", f"Schedule {name} already exists.")


# --- refused --------------------------------------------------------------------


def test_what_is_not_there_is_refused_as_aws_does(scheduler: Any) -> None:
    gone = Refused(404, "ResourceNotFoundException", "Schedule gone does not exist.")

    assert refused(scheduler.get_schedule, Name="gone") == gone
    assert refused(scheduler.delete_schedule, Name="gone") == gone
    assert refused(scheduler.list_schedules, GroupName="gone") == Refused(
        404, "ResourceNotFoundException", "Schedule group gone does not exist."
    )


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"ScheduleExpression": "cron(0 10 * * * *)"},
            "Invalid Schedule Expression cron(0 10 * * * *).",
        ),
        (
            {"ScheduleExpressionTimezone": "Mars"},
            "Invalid Schedule Expression Timezone Mars.",
        ),
        (
            {"StartDate": datetime(2020, 1, 1, tzinfo=UTC)},
            "The StartDate you specify cannot be earlier than 5 minutes ago.",
        ),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "FlexibleTimeWindow must have"),
        ({"Target": {"Input": "no json"}}, "Input is the function's event"),
        ({"Target": {"Arn": DLQ}}, f"Target.Arn {DLQ} is not supported"),
        (
            {"Target": {"SqsParameters": {"MessageGroupId": "x"}}},
            "Target.SqsParameters is not supported",
        ),
        (
            {"KmsKeyArn": f"arn:aws:kms:{REGION}:123456789012:key/x"},
            "KmsKeyArn is not supported: there is no KMS.",
        ),
        ({"Name": "x" * 65}, "1 validation error detected: Value"),
    ],
)
def test_what_a_schedule_cannot_be_is_refused(
    scheduler: Any, function: str, settings: dict[str, Any], why: str
) -> None:
    answer = refused(
        scheduler.create_schedule, **schedule("refused", function, **settings)
    )

    assert (answer.status, answer.code) == (400, "ValidationException")
    assert answer.message.startswith(why)


def test_a_target_is_a_function_of_ones_own(
    scheduler: Any, account: Account, cloud: Cloud, function: str
) -> None:
    other = cloud.account("other")

    for target in (
        account.arn("gone"),
        account.arn(function.rpartition(":")[2], "us-west-2"),
        other.arn(function.rpartition(":")[2]),
    ):
        answer = refused(scheduler.create_schedule, **schedule("refused", target))
        assert answer.code == "ValidationException"
    assert refused(other.scheduler().get_schedule, Name="x").status == 404


def test_a_key_that_is_none_and_a_signature_for_lambda_are_refused(
    cloud: Cloud, account: Account
) -> None:
    stranger = cloud.client("AKIANOBODY", "secret", REGION, service="scheduler")

    answer = refused(stranger.list_schedules)

    assert (answer.status, answer.code) == (403, "UnrecognizedClientException")


# --- fired ----------------------------------------------------------------------


def test_a_moment_that_is_past_runs_the_function_once_and_is_deleted(
    scheduler: Any, account: Account, function: str, name: str
) -> None:
    client, short = account.grpc(), function.rpartition(":")[2]
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2)
    given = schedule(
        name,
        function,
        ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
        ActionAfterCompletion="DELETE",
    )
    del given["StartDate"]

    arn = scheduler.create_schedule(**given)["ScheduleArn"]
    wait_until(lambda: list(client.runs(short)), "the function to run")
    wait_until(
        lambda: not scheduler.list_schedules(NamePrefix=name)["Schedules"],
        "the schedule to be deleted",
    )

    (run,) = client.runs(short)
    assert run.status is Status.OK
    line = _said(client, short)
    event = json.loads(line.removeprefix("GOT "))
    assert event["time"] == f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    assert event["id"] == run.request_id
    assert event["source"] == "aws.scheduler"
    # The engine's own region, whichever the caller had.
    assert event["resources"] == [arn.replace(REGION, "us-east-1")]


def _said(client: Client, function: str) -> str:
    """The one line that the function printed, once its log is written."""

    def lines() -> list[str]:
        log = (line.text for line in client.logs(function))
        return [text for text in log if text.startswith("GOT ")]

    (line,) = wait_until(lines, "the function's log")
    return line


def test_a_rate_begins_at_once(
    scheduler: Any, account: Account, function: str, name: str
) -> None:
    given = schedule(name, function, Target={"Input": '{"hello": "there"}'})
    del given["StartDate"]
    client, short = account.grpc(), function.rpartition(":")[2]

    scheduler.create_schedule(**given)

    wait_until(lambda: list(client.runs(short)), "the function to run")
    assert _said(client, short) == 'GOT {"hello": "there"}'


def test_a_function_takes_its_schedules_along(
    scheduler: Any, account: Account, create: Create
) -> None:
    name, function = unique("schedule"), create(saying("a word"))
    scheduler.create_schedule(**schedule(name, account.arn(function)))

    account.aws().delete_function(FunctionName=function)

    assert refused(scheduler.get_schedule, Name=name).status == 404
