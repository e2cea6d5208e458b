"""Functions by boto3: how they are called, and what is refused, in which words."""

import json
import re
from typing import Any

import pytest

from tests.compat.clients import (
    REGION,
    RUNTIME,
    Account,
    Cloud,
    Lambda,
    Refused,
    conflict,
    invalid,
    new_function,
    not_found,
    refused,
    saying,
    unique,
    wait_updated,
)
from tests.compat.conftest import Create
from tests.fakes.zips import CENTRAL, LOCAL, patched

ONE_MORE = 52_428_801
"""A zip may have one byte less."""


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


def test_a_name_has_at_most_64_characters(
    aws: Lambda, account: Account, create: Create
) -> None:
    longest, too_long = "n" * 64, "n" * 65

    assert create(saying("a word"), FunctionName=longest) == longest
    assert refused(
        aws.create_function, **new_function(saying("x"), FunctionName=too_long)
    ) == invalid(
        f"1 validation error detected: Value '{too_long}' at 'functionName' failed to "
        "satisfy constraint: Member must have length less than or equal to 64"
    )
    # Who asks whether it is there before, is told that it is not.
    for ask in (aws.get_function, aws.get_function_configuration, aws.delete_function):
        assert refused(ask, FunctionName=too_long) == not_found(
            f"Function not found: {account.arn(too_long)}"
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
