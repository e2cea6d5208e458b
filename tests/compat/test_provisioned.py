"""Provisioned concurrency, by boto3: instances that are there before anybody calls."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.compat.clients import (
    Lambda,
    Refused,
    invalid,
    invoke,
    refused,
    said,
    saying,
    wait_published,
)
from tests.compat.conftest import Create

COUNT = 4


def wait_ready(aws: Lambda, name: str, qualifier: str) -> dict[str, Any]:
    """Until what was asked for is there: pytest's timeout is the deadline."""
    while True:
        found: dict[str, Any] = aws.get_provisioned_concurrency_config(
            FunctionName=name, Qualifier=qualifier
        )
        if found["Status"] != "IN_PROGRESS":
            return found


def provision(aws: Lambda, name: str, qualifier: str, count: int = COUNT) -> Any:
    return aws.put_provisioned_concurrency_config(
        FunctionName=name,
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=count,
    )


def published(aws: Lambda, create: Create) -> str:
    name = create(saying("a word"), Publish=True)
    wait_published(aws, name, "1")
    return name


def test_what_is_provisioned_is_there_before_it_is_called(
    aws: Lambda, create: Create
) -> None:
    name = published(aws, create)

    put = provision(aws, name, "1")
    ready = wait_ready(aws, name, "1")
    with ThreadPoolExecutor(COUNT) as callers:
        answers = list(
            callers.map(
                lambda _: invoke(aws, f"{name}:1", LogType="Tail"), range(COUNT)
            )
        )

    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (put["Status"], ready["Status"]) == ("IN_PROGRESS", "READY")
    assert ready["AllocatedProvisionedConcurrentExecutions"] == COUNT
    assert [answer["ExecutedVersion"] for answer in answers] == ["1"] * COUNT


def test_when_it_was_asked_for_is_told_in_whole_seconds(
    aws: Lambda, create: Create
) -> None:
    name = published(aws, create)

    asked = provision(aws, name, "1", 1)
    (listed,) = aws.list_provisioned_concurrency_configs(FunctionName=name)[
        "ProvisionedConcurrencyConfigs"
    ]

    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\+0000", asked["LastModified"])
    assert listed["LastModified"] == asked["LastModified"]


def test_where_all_that_is_reserved_is_provisioned_other_versions_are_off(
    aws: Lambda, create: Create
) -> None:
    name = published(aws, create)
    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    provision(aws, name, "1", 1)
    wait_ready(aws, name, "1")

    refusal = refused(aws.invoke, FunctionName=name)
    answer = invoke(aws, f"{name}:1")

    assert refusal == Refused(429, "TooManyRequestsException", "Rate Exceeded.")
    assert refusal.members["Reason"] == (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    )
    assert answer["ExecutedVersion"] == "1"


def test_it_goes_with_its_config(aws: Lambda, create: Create) -> None:
    name = published(aws, create)
    provision(aws, name, "1")
    wait_ready(aws, name, "1")

    listed = aws.list_provisioned_concurrency_configs(FunctionName=name)
    aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    gone = refused(
        aws.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1"
    )

    (config,) = listed["ProvisionedConcurrencyConfigs"]
    assert config["FunctionArn"].endswith(f":{name}:1")
    assert (gone.status, gone.code) == (
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
    )


def test_it_moves_with_its_alias(aws: Lambda, create: Create) -> None:
    name = published(aws, create)
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(aws, name, "live", 2)
    wait_ready(aws, name, "live")
    aws.update_function_code(FunctionName=name, ZipFile=saying("another"))
    aws.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
    )
    version = aws.publish_version(FunctionName=name)["Version"]

    aws.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    ready = wait_ready(aws, name, "live")

    assert ready["Status"] == "READY"
    assert said(aws, f"{name}:live") == "another"


@pytest.mark.parametrize(
    ("qualifier", "why"),
    [
        (
            "$LATEST",
            (
                "Provisioned Concurrency Configs cannot be applied to unpublished "
                "function versions."
            ),
        ),
    ],
)
def test_what_changes_has_none(
    aws: Lambda, create: Create, qualifier: str, why: str
) -> None:
    name = create(saying("a word"))

    refusal = refused(
        aws.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=1,
    )

    assert refusal == invalid(why)


def test_it_fits_into_what_is_reserved(aws: Lambda, create: Create) -> None:
    name = published(aws, create)
    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)

    refusal = refused(
        aws.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="1",
        ProvisionedConcurrentExecutions=2,
    )

    assert refusal == invalid(
        "Requested Provisioned Concurrency should not be greater than the "
        "reservedConcurrentExecution for function"
    )
