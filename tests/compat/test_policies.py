"""Who else may invoke, by boto3: resource policies, and that they decide."""

import json

import pytest

from tests.compat.clients import (
    Account,
    Cloud,
    Lambda,
    invoke,
    not_found,
    refused,
    said,
    saying,
)
from tests.compat.conftest import Create

INVOKE = "lambda:InvokeFunction"


@pytest.fixture(scope="module")
def other(cloud: Cloud) -> Account:
    """Another account than the ordinary one."""
    return cloud.account("another")


def test_a_statement_is_as_aws_writes_it(
    aws: Lambda, account: Account, other: Account, create: Create
) -> None:
    name = create(saying("a word"))

    added = aws.add_permission(
        FunctionName=name, StatementId="one", Action=INVOKE, Principal=other.id
    )
    policy = json.loads(aws.get_policy(FunctionName=name)["Policy"])

    statement = {
        "Sid": "one",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{other.id}:root"},
        "Action": INVOKE,
        "Resource": account.arn(name),
    }
    assert json.loads(added["Statement"]) == statement
    assert policy["Statement"] == [statement]
    assert (policy["Version"], policy["Id"]) == ("2012-10-17", "default")


def test_who_is_allowed_may_invoke_and_nobody_else(
    aws: Lambda, account: Account, other: Account, cloud: Cloud, create: Create
) -> None:
    name = create(saying("a word"))
    arn = account.arn(name)
    third = cloud.account("third")

    before = refused(other.aws().invoke, FunctionName=arn)
    aws.add_permission(
        FunctionName=name, StatementId="one", Action=INVOKE, Principal=other.id
    )
    answer = said(other.aws(), arn)
    of_a_third = refused(third.aws().invoke, FunctionName=arn)
    aws.remove_permission(FunctionName=name, StatementId="one")
    after = refused(other.aws().invoke, FunctionName=arn)

    assert answer == "a word"
    for refusal in (before, of_a_third, after):
        assert (refusal.status, refusal.code) == (403, "AccessDeniedException")


def test_to_invoke_is_all_that_is_allowed(
    aws: Lambda, account: Account, other: Account, create: Create
) -> None:
    name = create(saying("a word"))
    aws.add_permission(
        FunctionName=name, StatementId="one", Action="lambda:*", Principal="*"
    )

    refusal = refused(other.aws().get_function, FunctionName=account.arn(name))

    assert refusal.code == "AccessDeniedException"


def test_a_statement_of_an_alias_is_of_that_alias_alone(
    aws: Lambda, account: Account, other: Account, create: Create
) -> None:
    name = create(saying("a word"), Publish=True)
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    aws.add_permission(
        FunctionName=name,
        Qualifier="live",
        StatementId="one",
        Action=INVOKE,
        Principal=other.id,
    )
    arn = account.arn(name)

    answer = invoke(other.aws(), f"{arn}:live")
    unqualified = refused(other.aws().invoke, FunctionName=arn)
    gone = refused(aws.get_policy, FunctionName=name)

    assert answer["ExecutedVersion"] == "1"
    assert unqualified.code == "AccessDeniedException"
    assert gone == not_found("The resource you requested does not exist.")


def test_a_policy_has_each_statement_once_and_a_revision(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))
    given = {"FunctionName": name, "Action": INVOKE, "Principal": "s3.amazonaws.com"}
    aws.add_permission(**given, StatementId="one")
    revision = aws.get_policy(FunctionName=name)["RevisionId"]

    twice = refused(aws.add_permission, **given, StatementId="one")
    stale = refused(aws.add_permission, **given, StatementId="two", RevisionId="stale")
    aws.add_permission(**given, StatementId="two", RevisionId=revision)
    missing = refused(aws.remove_permission, FunctionName=name, StatementId="three")

    assert (twice.status, twice.code) == (409, "ResourceConflictException")
    assert "(one) provided already exists" in twice.message
    assert (stale.status, stale.code) == (412, "PreconditionFailedException")
    assert missing == not_found("Statement three is not found in resource policy.")


def test_a_whole_policy_is_put_and_taken_back(
    aws: Lambda, account: Account, other: Account, create: Create
) -> None:
    name = create(saying("a word"))
    arn = account.arn(name)
    allow = {
        "Sid": "all",
        "Effect": "Allow",
        "Principal": "*",
        "Action": INVOKE,
        "Resource": arn,
    }
    deny = {
        "Sid": "not-these",
        "Effect": "Deny",
        "Principal": {"AWS": f"arn:aws:iam::{other.id}:root"},
        "Action": INVOKE,
        "Resource": arn,
    }
    policy = {"Version": "2012-10-17", "Statement": [allow]}

    aws.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    allowed = said(other.aws(), arn)
    policy["Statement"] = [allow, deny]
    aws.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    denied = refused(other.aws().invoke, FunctionName=arn)
    aws.delete_resource_policy(ResourceArn=arn)

    assert allowed == "a word"
    assert denied.code == "AccessDeniedException"
    assert refused(aws.get_resource_policy, ResourceArn=arn).status == 404
