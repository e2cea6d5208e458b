"""What hangs on functions, by boto3: shares of concurrency, tags, recursion."""

import pytest

from tests.compat.clients import (
    REGION,
    ROLE,
    Account,
    Lambda,
    invalid,
    not_found,
    refused,
    revision_of,
    saying,
)
from tests.compat.conftest import Create

FUNCTIONS_ALONE = invalid(
    "This operation is permitted on Lambda functions only. Aliases and versions do not "
    "support this operation. Please specify either a function name or an unqualified "
    "function ARN."
)


def test_a_share_is_shown_until_it_is_given_back(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    shown = aws.get_function(FunctionName=name)["Concurrency"]
    read = aws.get_function_concurrency(FunctionName=name)
    gone = [aws.delete_function_concurrency(FunctionName=name) for _ in range(2)]

    assert shown == {"ReservedConcurrentExecutions": 3}
    assert read["ReservedConcurrentExecutions"] == 3
    assert [each["ResponseMetadata"]["HTTPStatusCode"] for each in gone] == [204, 204]
    assert "ReservedConcurrentExecutions" not in aws.get_function_concurrency(
        FunctionName=name
    )


def test_a_hundred_stay_unreserved(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    refusal = refused(
        aws.put_function_concurrency,
        FunctionName=name,
        ReservedConcurrentExecutions=1_000_000,
    )

    assert refusal == invalid(
        "Specified ReservedConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [100]."
    )


def test_a_version_has_no_share_of_its_own(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"), Publish=True)

    refusal = refused(
        aws.put_function_concurrency,
        FunctionName=f"{name}:1",
        ReservedConcurrentExecutions=1,
    )

    assert refusal == FUNCTIONS_ALONE


# --- tags ---------------------------------------------------------------------


def test_tags_are_added_changed_and_removed(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"), Tags={"a": "1"})
    arn = account.arn(name)

    none = refused(aws.tag_resource, Resource=arn, Tags={})
    aws.tag_resource(Resource=arn, Tags={"a": "2", "b": ""})
    tagged = aws.list_tags(Resource=arn)["Tags"]
    shown = aws.get_function(FunctionName=name)["Tags"]
    gone = aws.untag_resource(Resource=arn, TagKeys=["a", "b", "never there"])

    assert none == invalid("An error occurred and the request cannot be processed.")
    assert tagged == shown == {"a": "2", "b": ""}
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert aws.list_tags(Resource=arn)["Tags"] == {}
    assert "Tags" not in aws.get_function(FunctionName=name)


def test_tags_are_a_change_of_their_function(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    arn = account.arn(name)
    seen = [revision_of(aws, name)]

    aws.tag_resource(Resource=arn, Tags={"a": "1"})
    seen.append(revision_of(aws, name))
    aws.untag_resource(Resource=arn, TagKeys=["a"])
    seen.append(revision_of(aws, name))

    assert len(set(seen)) == 3


def test_a_function_has_fifty_tags(
    aws: Lambda, account: Account, create: Create
) -> None:
    fifty = {f"key-{number}": "x" for number in range(50)}
    name = create(saying("a word"), Tags=fifty)

    refusal = refused(
        aws.tag_resource, Resource=account.arn(name), Tags={"one more": "x"}
    )

    assert refusal == invalid("Number of tags exceeds resource tag limit.")
    assert aws.list_tags(Resource=account.arn(name))["Tags"] == fifty


@pytest.mark.parametrize("qualifier", ["1", "live"])
def test_versions_and_aliases_have_no_tags(
    aws: Lambda, account: Account, create: Create, qualifier: str
) -> None:
    name = create(saying("a word"), Publish=True)
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    refusal = refused(
        aws.tag_resource,
        Resource=account.arn(f"{name}:{qualifier}"),
        Tags={"a": "b"},
    )

    assert refusal == invalid(
        "Tags on function aliases and versions are not supported. Please specify a "
        "function ARN."
    )


def test_awss_own_tags_cannot_be_set(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))

    refusal = refused(
        aws.tag_resource, Resource=account.arn(name), Tags={"aws:mine": "x"}
    )

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert "aws:" in refusal.message


def test_a_function_that_is_not_there_has_no_tags(
    aws: Lambda, account: Account
) -> None:
    arn = account.arn("no-such")

    assert refused(aws.list_tags, Resource=arn) == not_found(
        f"Function not found: {arn}"
    )


def test_recursion_is_ended_unless_it_is_allowed(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    before = aws.get_function_recursion_config(FunctionName=name)["RecursiveLoop"]
    aws.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")

    assert before == "Terminate"
    shown = aws.get_function_recursion_config(FunctionName=name)
    assert shown["RecursiveLoop"] == "Allow"


def test_what_has_no_tenant_id_is_refused_where_each_call_needs_one(
    aws: Lambda, account: Account, create: Create
) -> None:
    per_tenant = {"TenantIsolationMode": "PER_TENANT"}
    name, other = create(saying("a word"), TenancyConfig=per_tenant), create(saying(""))
    schedules, arn = account.scheduler(), account.arn(name)

    refusals = [
        refused(aws.create_function_url_config, FunctionName=name, AuthType="NONE"),
        refused(
            aws.create_event_source_mapping,
            FunctionName=name,
            EventSourceArn=f"arn:aws:sqs:{REGION}:{account.id}:orders",
        ),
        refused(
            aws.put_function_event_invoke_config,
            FunctionName=other,
            DestinationConfig={"OnSuccess": {"Destination": arn}},
        ),
        refused(
            schedules.create_schedule,
            Name="any",
            ScheduleExpression="rate(1 hour)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": ROLE},
        ),
    ]

    for refusal in refusals:
        assert refusal.status == 400
        assert "is not supported for functions with tenant isolation" in refusal.message
