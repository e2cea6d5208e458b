"""Who may, by boto3: keys, clocks, other accounts, regions; and the other face."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import pytest
import urllib3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandlot.errors import NotFound
from tests.compat.clients import (
    REGION,
    Account,
    Cloud,
    Lambda,
    Refused,
    not_found,
    refused,
    said,
    saying,
    unique,
    wait_updated,
)
from tests.compat.conftest import Create
from tests.e2e.conftest import deploy_guest, guest_zip

UNKNOWN = Refused(
    403,
    "UnrecognizedClientException",
    "The security token included in the request is invalid.",
)


# --- keys ---------------------------------------------------------------------


def test_an_unknown_key_is_refused(cloud: Cloud) -> None:
    stranger = cloud.client("AKIA0000000000000000", "s" * 40, REGION)

    for call, given in CALLS:
        assert refused(getattr(stranger, call), **given) == UNKNOWN


def test_a_wrong_secret_is_refused(cloud: Cloud, account: Account) -> None:
    impostor = cloud.client(account.key.access_key_id, "s" * 40, REGION)

    for call, given in CALLS:
        refusal = refused(getattr(impostor, call), **given)
        assert (refusal.status, refusal.code) == (403, "InvalidSignatureException")
        assert refusal.message.startswith(
            "The request signature we calculated does not match the signature you "
            "provided. Check your AWS Secret Access Key and signing method."
        )


def test_a_key_that_is_revoked_is_unknown(cloud: Cloud) -> None:
    account = cloud.account()
    aws = account.aws()
    assert aws.list_functions()["Functions"] == []

    cloud.engine.client().revoke_key(account.key.access_key_id)

    assert refused(aws.list_functions) == UNKNOWN


@pytest.mark.parametrize(
    ("off_by", "says"),
    [
        (timedelta(minutes=-6), "Signature expired: "),
        (timedelta(minutes=6), "Signature not yet current: "),
    ],
    ids=["slow", "fast"],
)
def test_a_clock_that_is_five_minutes_off_is_refused(
    aws: Lambda, monkeypatch: pytest.MonkeyPatch, off_by: timedelta, says: str
) -> None:
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda: datetime.now(UTC).replace(tzinfo=None) + off_by,
    )

    refusal = refused(aws.list_functions)

    assert (refusal.status, refusal.code) == (403, "InvalidSignatureException")
    assert refusal.message.startswith(says)


def test_a_request_without_a_signature_is_refused(cloud: Cloud) -> None:
    answer = urllib3.request("GET", f"{cloud.url}/2015-03-31/functions")

    assert answer.status == 403
    assert answer.headers["x-amzn-ErrorType"].startswith(
        "MissingAuthenticationTokenException"
    )


def test_a_presigned_url_is_a_signature_too(
    cloud: Cloud, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    url = f"{cloud.url}/2015-03-31/functions/{name}/configuration"
    request = AWSRequest("GET", url)
    key = Credentials(account.key.access_key_id, account.key.secret_access_key)
    SigV4QueryAuth(key, "lambda", REGION, expires=60).add_auth(request)

    assert request.url is not None
    answer = urllib3.request("GET", request.url)
    altered = urllib3.request("GET", request.url + "0")

    assert (answer.status, answer.json()["FunctionName"]) == (200, name)
    assert altered.status == 403


# --- other accounts -------------------------------------------------------------

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("invoke", {"FunctionName": "any"}),
    ("list_functions", {}),
    ("get_function", {"FunctionName": "any"}),
    ("update_function_code", {"FunctionName": "any", "ZipFile": saying("x")}),
]

REACHES: dict[str, Callable[[Lambda, str], object]] = {
    "GetFunction": lambda aws, f: aws.get_function(FunctionName=f),
    "InvokeFunction": lambda aws, f: aws.invoke(FunctionName=f),
    "UpdateFunctionCode": lambda aws, f: aws.update_function_code(
        FunctionName=f, ZipFile=saying("x")
    ),
    "PublishVersion": lambda aws, f: aws.publish_version(FunctionName=f),
    "CreateAlias": lambda aws, f: aws.create_alias(
        FunctionName=f, Name="a", FunctionVersion="$LATEST"
    ),
    "PutFunctionConcurrency": lambda aws, f: aws.put_function_concurrency(
        FunctionName=f, ReservedConcurrentExecutions=0
    ),
    "DeleteFunction": lambda aws, f: aws.delete_function(FunctionName=f),
}


def test_another_accounts_function_is_denied_by_its_arn_and_not_there_by_its_name(
    aws: Lambda, account: Account, cloud: Cloud, create: Create
) -> None:
    name = create(saying("a word"))
    before = aws.get_function_configuration(FunctionName=name)
    other = cloud.account("other")
    theirs = other.aws()

    for action, reach in REACHES.items():
        denied = refused(reach, aws=theirs, f=account.arn(name))
        assert (denied.status, denied.code) == (403, "AccessDeniedException"), action
        assert denied.message.startswith(
            f"User: arn:aws:iam::{other.id}:root is not authorized to perform: "
            f"lambda:{action} on resource: {account.arn(name)}"
        )
        missing = refused(reach, aws=theirs, f=name)
        assert (missing.status, missing.code) == (404, "ResourceNotFoundException")
        assert other.arn(name) in missing.message

    assert said(aws, name) == "a word"
    after = aws.get_function_configuration(FunctionName=name)
    assert after["RevisionId"] == before["RevisionId"]


def test_an_arn_that_is_denied_does_not_tell_whether_it_is_there(
    account: Account, cloud: Cloud, create: Create
) -> None:
    name = create(saying("a word"))
    theirs = cloud.account("other").aws()

    there, not_there = (
        refused(call, FunctionName=account.arn(each)).message.replace(each, "NAME")
        for each in (name, "no-such")
        for call in (theirs.invoke,)
    )

    assert there == not_there


def test_lists_have_nothing_of_another_account(
    account: Account, cloud: Cloud, create: Create
) -> None:
    create(saying("a word"))
    theirs = cloud.account("other").aws()

    assert theirs.list_functions(FunctionVersion="ALL")["Functions"] == []
    assert theirs.list_layers()["Layers"] == []
    refusal = refused(theirs.list_tags, Resource=account.arn("any"))
    assert refusal.code == "AccessDeniedException"


# --- regions --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "prefix"),
    [
        ("us-east-1", "arn:aws:lambda:us-east-1"),
        ("ap-southeast-2", "arn:aws:lambda:ap-southeast-2"),
        ("cn-north-1", "arn:aws-cn:lambda:cn-north-1"),
        ("us-gov-west-1", "arn:aws-us-gov:lambda:us-gov-west-1"),
    ],
)
def test_a_function_is_in_every_region_and_its_arn_in_the_callers(
    account: Account, create: Create, region: str, prefix: str
) -> None:
    name = create(saying("a word"))
    aws = account.aws(region)
    arn = f"{prefix}:{account.id}:function:{name}"

    shown = aws.get_function_configuration(FunctionName=name)

    assert shown["FunctionArn"] == arn
    assert said(aws, arn) == "a word"
    assert refused(aws.get_function, FunctionName=f"{name}:7") == not_found(
        f"Function not found: {arn}:7"
    )


def test_an_arn_of_another_region_is_not_reachable(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))

    for call in (aws.get_function, aws.invoke):
        refusal = refused(call, FunctionName=account.arn(name, "us-west-2"))
        assert refusal == not_found(
            f"Functions from 'us-west-2' are not reachable in this region ('{REGION}')"
        )


# --- two faces ------------------------------------------------------------------


def test_what_grpc_creates_boto3_sees_and_changes(
    aws: Lambda, account: Account
) -> None:
    ours = deploy_guest(account.grpc(), "counter")

    shown = aws.get_function_configuration(FunctionName=ours.name)
    counts = [
        ours.invoke({}).value["count"],
        said(aws, ours.name, {})["count"],
        ours.invoke({}).value["count"],
    ]
    aws.update_function_configuration(FunctionName=ours.name, Description="by boto3")
    wait_updated(aws, ours.name)

    assert shown["Handler"] == "counter.handler"
    assert counts == [1, 2, 3]
    assert ours.config().description == "by boto3"
    aws.delete_function(FunctionName=ours.name)
    with pytest.raises(NotFound):
        ours.config()


def test_what_boto3_creates_grpc_sees_and_changes(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(
        guest_zip("counter"), Handler="counter.handler", FunctionName=unique()
    )
    client = account.grpc()

    ours = client.function(name)
    counts = [said(aws, name, {})["count"], ours.invoke({}).value["count"]]
    ours.update(memory=256)

    assert counts == [1, 2]
    assert name in {each.name for each in client.functions()}
    assert aws.get_function_configuration(FunctionName=name)["MemorySize"] == 256
    ours.delete()
    assert refused(aws.get_function, FunctionName=name).status == 404
