"""Functions by boto3: made, ready, changed, listed, deleted."""

from typing import Any

import pytest
import urllib3
from botocore.exceptions import WaiterError

from tests.compat.clients import (
    PACE,
    REGION,
    RUNTIME,
    Account,
    Cloud,
    Lambda,
    Refused,
    conflict,
    invoke,
    new_function,
    not_found,
    package,
    refused,
    revision_of,
    said,
    saying,
    unique,
    wait_active,
    wait_updated,
)
from tests.compat.conftest import Create

SLOW = package(
    "import time; time.sleep(0.7)\ndef handler(event, context): return 'new'"
)
"""Takes its time to be made ready, so that the states before that can be seen."""


# --- states -------------------------------------------------------------------


def test_a_function_is_pending_and_then_active(aws: Lambda) -> None:
    made = aws.create_function(**new_function(SLOW))
    name = made["FunctionName"]
    refusals = [
        refused(aws.invoke, FunctionName=name),
        refused(aws.publish_version, FunctionName=name),
        refused(aws.update_function_code, FunctionName=name, ZipFile=saying("x")),
        refused(aws.update_function_configuration, FunctionName=name, Timeout=9),
    ]
    wait_active(aws, name)
    ready = aws.get_function_configuration(FunctionName=name)
    aws.delete_function(FunctionName=name)

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["State"] == "Pending"
    assert made["StateReason"] == "The function is being created."
    assert made["StateReasonCode"] == "Creating"
    assert "LastUpdateStatus" not in made
    assert set(refusals) == {
        conflict(
            "The operation cannot be performed at this time. The function is "
            "currently in the following state: Pending"
        )
    }
    assert (ready["State"], ready["LastUpdateStatus"]) == ("Active", "Successful")
    assert not {"StateReason", "StateReasonCode"} & set(ready)


def test_an_update_is_in_progress_and_then_successful(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("old"))

    changed = aws.update_function_code(FunctionName=name, ZipFile=SLOW)
    during = aws.get_function_configuration(FunctionName=name)
    refusals = [
        refused(aws.publish_version, FunctionName=name),
        refused(aws.update_function_code, FunctionName=name, ZipFile=saying("x")),
        refused(aws.update_function_configuration, FunctionName=name, Timeout=9),
        refused(aws.tag_resource, Resource=account.arn(name), Tags={"a": "b"}),
    ]
    wait_updated(aws, name)
    after = aws.get_function_configuration(FunctionName=name)

    for seen in (changed, during):
        assert (seen["State"], seen["LastUpdateStatus"]) == ("Active", "InProgress")
        assert seen["LastUpdateStatusReason"] == "The function is being created."
        assert seen["LastUpdateStatusReasonCode"] == "Creating"
    assert set(refusals) == {
        conflict(
            "The operation cannot be performed at this time. An update is in progress "
            f"for resource: {account.arn(name)}"
        )
    }
    assert after["LastUpdateStatus"] == "Successful"
    assert "LastUpdateStatusReason" not in after


def test_what_is_invoked_during_an_update_runs_the_old_code(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("old"))

    aws.update_function_code(FunctionName=name, ZipFile=SLOW)
    during = said(aws, name)
    status = aws.get_function_configuration(FunctionName=name)["LastUpdateStatus"]
    wait_updated(aws, name)

    assert (during, status) == ("old", "InProgress")
    assert said(aws, name) == "new"


def test_a_revision_id_changes_twice_and_a_stale_one_is_refused(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))
    before = revision_of(aws, name)

    changed = aws.update_function_configuration(
        FunctionName=name, Description="new", RevisionId=before
    )
    wait_updated(aws, name)
    after = revision_of(aws, name)
    refusal = refused(
        aws.update_function_configuration,
        FunctionName=name,
        Description="newer",
        RevisionId=before,
    )

    assert len({before, changed["RevisionId"], after}) == 3
    assert refusal == Refused(
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the "
        "GetFunction/GetAlias API to retrieve the latest Revision Id",
    )


def test_a_waiter_waits_for_a_function_to_exist(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    waiter = aws.get_waiter("function_exists")

    waiter.wait(FunctionName=name, WaiterConfig=PACE)

    with pytest.raises(WaiterError):
        waiter.wait(
            FunctionName=unique(), WaiterConfig={"Delay": 0.01, "MaxAttempts": 2}
        )


def test_a_handler_that_cannot_be_imported_is_an_active_function(
    aws: Lambda, create: Create
) -> None:
    name = create(package("import no_such_module"))

    answer = invoke(aws, name)

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Runtime.ImportModuleError"


# --- what is shown ------------------------------------------------------------


def test_a_new_function_is_shown_with_awss_defaults(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))

    shown = aws.get_function_configuration(FunctionName=name)

    expected = {
        "FunctionName": name,
        "FunctionArn": account.arn(name),
        "Runtime": RUNTIME,
        "Timeout": 3,
        "MemorySize": 128,
        "Description": "",
        "Version": "$LATEST",
        "PackageType": "Zip",
        "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }
    assert {key: shown.get(key) for key in expected} == expected
    assert not {"Environment", "Layers", "TenancyConfig"} & set(shown)


def test_what_was_given_is_shown_and_seen_by_the_function(
    aws: Lambda, account: Account, create: Create
) -> None:
    source = (
        "import os\ndef handler(event, context): return [os.environ['GREETING'], "
        "context.memory_limit_in_mb]"
    )
    given: dict[str, Any] = {
        "Description": "greets",
        "Timeout": 7,
        "MemorySize": 256,
        "Environment": {"Variables": {"GREETING": "Grüße"}},
        "EphemeralStorage": {"Size": 600},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sns:{REGION}:{account.id}:dead"},
        "KMSKeyArn": f"arn:aws:kms:{REGION}:123456789012:key/a",
    }
    name = create(package(source), **given)

    shown = aws.get_function(FunctionName=name)["Configuration"]

    assert {key: shown[key] for key in given} == given
    assert said(aws, name) == ["Grüße", "256"]


@pytest.mark.parametrize(
    ("arn", "why"),
    [
        ("arn:aws:sqs:{region}:123456789012:dead", "another account"),
        ("arn:aws:sqs:{region}:{id}:dead", "knows no endpoint for sqs"),
        ("arn:aws:lambda:{region}:{id}:function:other", "PutFunctionEventInvokeConfig"),
        ("arn:aws:events:{region}:{id}:event-bus/b", "PutFunctionEventInvokeConfig"),
        ("arn:aws:s3:::dead", "S3 destinations are not supported"),
        ("arn:aws:sns:{region}:{id}:dead.fifo", "name a standard one"),
    ],
)
def test_a_dead_letter_queue_that_nothing_could_be_sent_to_is_refused(
    aws: Lambda, account: Account, create: Create, arn: str, why: str
) -> None:
    target = {"TargetArn": arn.format(region=REGION, id=account.id)}
    name = create(saying("a word"))

    refusals = [
        refused(
            aws.create_function,
            **new_function(saying("a word"), DeadLetterConfig=target),
        ),
        refused(
            aws.update_function_configuration,
            FunctionName=name,
            DeadLetterConfig=target,
        ),
    ]
    aws.update_function_configuration(
        FunctionName=name, DeadLetterConfig={"TargetArn": ""}
    )

    for refusal in refusals:
        assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
        assert target["TargetArn"] in refusal.message
        assert why in refusal.message


def test_settings_are_changed_one_by_one(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"), Timeout=7, Description="kept")

    aws.update_function_configuration(FunctionName=name, MemorySize=512)
    wait_updated(aws, name)

    shown = aws.get_function_configuration(FunctionName=name)
    assert (shown["Timeout"], shown["MemorySize"]) == (7, 512)
    assert shown["Description"] == "kept"


def test_the_code_url_gives_the_bytes_that_were_uploaded(
    aws: Lambda, create: Create
) -> None:
    zip_bytes = saying("a word")
    name = create(zip_bytes)

    code = aws.get_function(FunctionName=name)["Code"]
    fetched = urllib3.request("GET", code["Location"], redirect=False)
    altered = urllib3.request("GET", code["Location"] + "0", redirect=False)

    assert code["RepositoryType"] == "S3"
    assert (fetched.status, fetched.data) == (200, zip_bytes)
    assert altered.status == 403


def test_a_dry_run_of_an_update_changes_nothing(aws: Lambda, create: Create) -> None:
    name = create(saying("old"))
    before = aws.get_function_configuration(FunctionName=name)

    shown = aws.update_function_code(
        FunctionName=name, ZipFile=saying("new"), DryRun=True
    )

    after = aws.get_function_configuration(FunctionName=name)
    assert shown["CodeSha256"] != before["CodeSha256"]
    assert after["RevisionId"] == before["RevisionId"]
    assert said(aws, name) == "old"


# --- listed and deleted ---------------------------------------------------------


def test_functions_are_listed_page_by_page(cloud: Cloud) -> None:
    aws = cloud.account().aws()
    names = [f"listed-{number}" for number in range(5)]
    for name in reversed(names):
        aws.create_function(**new_function(saying("x"), FunctionName=name))

    pages = list(
        aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    )

    assert [len(page["Functions"]) for page in pages] == [2, 2, 1]
    listed = [each for page in pages for each in page["Functions"]]
    assert [each["FunctionName"] for each in listed] == names
    assert not any("State" in each for each in listed)
    delete_all(aws)


def test_all_versions_can_be_listed(
    cloud: Cloud,
) -> None:
    account = cloud.account()
    aws = account.aws()
    first = new_function(saying("x"), FunctionName="one", Publish=True)
    made = aws.create_function(**first)
    aws.create_function(**new_function(saying("x"), FunctionName="two"))

    latest = aws.list_functions()["Functions"]
    every = aws.list_functions(FunctionVersion="ALL")["Functions"]

    assert (made["Version"], made["FunctionArn"]) == ("1", account.arn("one"))
    assert [each["FunctionArn"] for each in latest] == [
        account.arn("one"),
        account.arn("two"),
    ]
    assert [each["FunctionArn"] for each in every] == [
        account.arn("one:$LATEST"),
        account.arn("one:1"),
        account.arn("two:$LATEST"),
    ]
    delete_all(aws)


def test_a_deleted_function_is_gone(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))

    answer = aws.delete_function(FunctionName=name)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    gone = not_found(f"Function not found: {account.arn(name)}")
    assert refused(aws.get_function, FunctionName=name) == gone
    assert refused(aws.delete_function, FunctionName=name) == gone


def delete_all(aws: Lambda) -> None:
    for page in aws.get_paginator("list_functions").paginate():
        for each in page["Functions"]:
            aws.delete_function(FunctionName=each["FunctionName"])
