"""Functions by boto3: made, ready, changed, named, listed, deleted."""

import json
import re
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
    invalid,
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
from tests.fakes.zips import CENTRAL, LOCAL, patched

SLOW = package(
    "import time; time.sleep(0.7)\ndef handler(event, context): return 'new'"
)
"""Takes its time to be made ready, so that the states before that can be seen."""

ONE_MORE = 52_428_801
"""A zip may have one byte less."""


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


# --- names --------------------------------------------------------------------


def test_every_form_of_a_name_leads_to_the_function(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("a word"))
    forms = [
        name,
        f"function:{name}",
        f"{account.id}:function:{name}",
        account.arn(name),
    ]

    for form in forms:
        for called, suffix in (
            ({"FunctionName": form}, ""),
            ({"FunctionName": f"{form}:$LATEST"}, ":$LATEST"),
            ({"FunctionName": form, "Qualifier": "$LATEST"}, ":$LATEST"),
            ({"FunctionName": f"{form}:$LATEST", "Qualifier": "$LATEST"}, ":$LATEST"),
        ):
            shown = aws.get_function_configuration(**called)
            assert shown["FunctionArn"] == account.arn(name) + suffix, called
            with aws.invoke(**called)["Payload"] as payload:
                assert json.loads(payload.read()) == "a word", called


def test_two_qualifiers_that_differ_are_refused(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    refusals = {
        refused(call, FunctionName=f"{name}:$LATEST", Qualifier="1")
        for call in (aws.get_function, aws.invoke)
    }

    assert refusals == {
        invalid(
            "The derived qualifier from the function name does not match the specified "
            "qualifier."
        )
    }


def test_names_are_told_by_case(aws: Lambda, account: Account, create: Create) -> None:
    name = create(saying("a word"), FunctionName=unique("Cased"))

    refusal = refused(aws.get_function, FunctionName=name.lower())

    assert refusal == not_found(f"Function not found: {account.arn(name.lower())}")


def test_a_function_that_is_not_there_is_named_as_it_was_called(
    aws: Lambda, account: Account
) -> None:
    arn = account.arn("no-such")

    assert refused(aws.get_function, FunctionName="no-such") == not_found(
        f"Function not found: {arn}"
    )
    assert refused(aws.get_function, FunctionName="no-such:7") == not_found(
        f"Function not found: {arn}:7"
    )
    assert refused(aws.delete_function, FunctionName="no-such") == not_found(
        f"Function not found: {arn}"
    )
    assert refused(aws.invoke, FunctionName="no-such") == not_found(
        f"Function not found: {arn}:$LATEST"
    )
    assert refused(
        aws.put_function_concurrency,
        FunctionName="no-such",
        ReservedConcurrentExecutions=1,
    ) == not_found(f"Function not found: {arn}:$LATEST")


def test_a_name_has_at_most_64_characters(aws: Lambda, create: Create) -> None:
    longest, too_long = "n" * 64, "n" * 65

    assert create(saying("a word"), FunctionName=longest) == longest
    assert refused(
        aws.create_function, **new_function(saying("x"), FunctionName=too_long)
    ) == invalid(
        f"1 validation error detected: Value '{too_long}' at 'functionName' failed to "
        "satisfy constraint: Member must have length less than or equal to 64"
    )


def test_an_arn_has_at_most_140_characters(aws: Lambda, account: Account) -> None:
    refusal = refused(aws.get_function_concurrency, FunctionName=account.arn("n" * 141))

    assert (refusal.status, refusal.code) == (400, "ValidationException")
    assert "at 'functionName' failed to satisfy constraint" in refusal.message
    assert "Member must have length less than or equal to 140" in refusal.message


def test_constraints_that_are_broken_are_told_in_awss_words(cloud: Cloud) -> None:
    unchecked = cloud.account().aws(parameter_validation=False)

    refusal = refused(
        unchecked.create_function,
        **new_function(saying("x"), Timeout=0, Role="no role", PackageType="Tar"),
    )

    assert (refusal.status, refusal.code) == (400, "ValidationException")
    assert refusal.message.startswith("3 validation errors detected: Value ")
    for part in (
        r"Value '0' at 'timeout' .* greater than or equal to 1",
        r"at 'role' .* Member must satisfy regular expression pattern: arn:",
        r"Value 'Tar' at 'packageType' .* Member must satisfy enum value set: \[",
    ):
        assert re.search(part, refusal.message)


# --- refused ------------------------------------------------------------------


def test_a_name_is_taken_once(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    refusal = refused(
        aws.create_function, **new_function(saying("another"), FunctionName=name)
    )

    assert refusal == conflict(f"Function already exist: {name}")


def test_a_runtime_that_is_not_there_is_told_as_aws_tells_it(aws: Lambda) -> None:
    refusal = refused(
        aws.create_function, **new_function(saying("x"), Runtime="python2.7")
    )

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert refusal.message.startswith(
        "Value python2.7 at 'runtime' failed to satisfy constraint: Member must "
        "satisfy enum value set: ["
    )
    assert f"{RUNTIME}" in refusal.message
    assert "] or be a valid ARN" in refusal.message


@pytest.mark.parametrize("missing", ["Runtime", "Handler"])
def test_a_zip_needs_a_runtime_and_a_handler(aws: Lambda, missing: str) -> None:
    given = new_function(saying("x"))
    del given[missing]

    assert refused(aws.create_function, **given) == invalid(
        "Runtime and Handler are mandatory parameters for functions created with "
        "deployment packages."
    )


def test_an_environment_is_shown_from_when_one_was_given(
    aws: Lambda, create: Create
) -> None:
    without, empty = create(saying("x")), create(saying("x"), Environment={})
    shown = [
        aws.get_function_configuration(FunctionName=name) for name in (without, empty)
    ]
    changed = aws.update_function_configuration(
        FunctionName=without, Environment={"Variables": {}}
    )

    assert "Environment" not in shown[0]
    assert shown[1]["Environment"] == changed["Environment"] == {"Variables": {}}


def test_an_environment_has_four_kilobytes(aws: Lambda, create: Create) -> None:
    variables = {"NAME": "x" * (4_096 - len('{"NAME":""}'))}
    create(saying("a word"), Environment={"Variables": variables})
    variables["NAME"] += "x"

    refusal = refused(
        aws.create_function,
        **new_function(saying("x"), Environment={"Variables": variables}),
    )

    measured = json.dumps(variables, separators=(",", ":"))
    assert refusal == invalid(
        "Lambda was unable to configure your environment variables because the "
        "environment variables you have provided exceeded the 4KB limit. String "
        f"measured: {measured}"
    )


def test_a_variable_of_the_platforms_cannot_be_set(aws: Lambda) -> None:
    variables = {"AWS_REGION": "mars-north-1"}

    refusal = refused(
        aws.create_function,
        **new_function(saying("x"), Environment={"Variables": variables}),
    )

    assert refusal.code == "InvalidParameterValueException"
    assert refusal.message.endswith(
        "reserved keys that are currently not supported for modification. Reserved "
        "keys used in this request: AWS_REGION"
    )


@pytest.mark.parametrize("broken", [b"no zip", saying("x")[:-9], b""])
def test_a_broken_zip_is_refused(aws: Lambda, broken: bytes) -> None:
    assert refused(aws.create_function, **new_function(broken)) == invalid(
        "Could not unzip uploaded file. Please check your file, then try to upload "
        "again."
    )


def test_a_package_has_at_most_250_megabytes_unpacked(aws: Lambda) -> None:
    size = 262_144_001
    bomb = patched(saying("x"), LOCAL, 22, "<I", size)
    bomb = patched(bomb, CENTRAL, 24, "<I", size)

    assert refused(aws.create_function, **new_function(bomb)) == invalid(
        "Unzipped size must be smaller than 262144000 bytes"
    )


def test_a_package_has_at_most_50_megabytes(aws: Lambda) -> None:
    refusal = refused(aws.create_function, **new_function(bytes(ONE_MORE)))

    assert refusal == Refused(
        413,
        "RequestEntityTooLargeException",
        "Zipped size must be smaller than 52428800 bytes",
    )


def test_a_request_has_at_most_67_megabytes(aws: Lambda) -> None:
    refusal = refused(aws.create_function, **new_function(bytes(53_000_000)))

    assert refusal == Refused(
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 70167211 bytes for the CreateFunction operation",
    )


VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/any:latest"


@pytest.mark.parametrize(
    "asked",
    [
        {"VpcConfig": VPC},
        {
            "FileSystemConfigs": [
                {
                    "Arn": f"arn:aws:elasticfilesystem:{REGION}:123456789012:"
                    "access-point/fsap-0123456789abcdef0",
                    "LocalMountPath": "/mnt/files",
                }
            ]
        },
        {"DurableConfig": {"ExecutionTimeout": 60}},
        {"PublishTo": "LATEST_PUBLISHED"},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_does_not_work_here_is_refused_by_name(
    aws: Lambda, asked: dict[str, Any]
) -> None:
    refusal = refused(aws.create_function, **new_function(saying("x"), **asked))

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert next(iter(asked)) in refusal.message
    assert "not supported" in refusal.message


def test_an_image_in_a_registry_is_refused_by_name(aws: Lambda) -> None:
    asked = new_function(b"", Code={"ImageUri": IMAGE}, PackageType="Image")
    for name in ("Runtime", "Handler"):
        asked.pop(name, None)

    refusal = refused(aws.create_function, **asked)

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert "Nothing is pulled from registries" in refusal.message


def test_a_zip_and_an_image_are_not_taken_for_one_another(
    aws: Lambda, create: Create
) -> None:
    name = create(saying("a word"))
    zipped = {"ZipFile": saying("x")}

    refusals = {
        refused(
            aws.create_function, **new_function(b"", Code={"ImageUri": "oci:a"})
        ).message,
        refused(aws.update_function_code, FunctionName=name, ImageUri="oci:a").message,
        refused(
            aws.create_function,
            **{
                **new_function(b"", Code={"ImageUri": "oci:a"}, PackageType="Image"),
                "Handler": "a.b",
            },
        ).message,
        refused(
            aws.create_function,
            **new_function(b"", Code=zipped, PackageType="Image"),
        ).message,
    }

    assert refusals == {
        "Please don't provide ImageUri when creating a function with packageType Zip.",
        "Please don't provide ImageUri when updating a function with packageType Zip.",
        "Please don't provide Runtime when the intended function PackageType is Image.",
        "Please provide ImageUri when creating a function with packageType Image.",
    }


def test_an_empty_structure_asks_for_nothing(aws: Lambda, create: Create) -> None:
    # As Terraform and others send it for "no".
    name = create(saying("a word"), VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})

    aws.update_function_configuration(
        FunctionName=name, VpcConfig={}, FileSystemConfigs=[], Timeout=9
    )
    wait_updated(aws, name)

    assert aws.get_function_configuration(FunctionName=name)["Timeout"] == 9


def test_an_operation_that_is_not_here_says_so_by_name(aws: Lambda) -> None:
    refusal = refused(aws.list_capacity_providers)

    assert (refusal.status, refusal.code) == (501, "NotImplementedException")
    assert "ListCapacityProviders is not supported" in refusal.message


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
