"""What the table of operations and fields says, to clients and to readers."""

from typing import Any

import pytest

from sandlot_engine.gateway.aws import operations
from sandlot_engine.gateway.aws.service import Service, Shape
from sandlot_engine.gateway.aws.support import (
    TABLE,
    Fields,
    Support,
    in_document,
    refusal,
)
from tests.markdown import REPOSITORY

MODEL = Service.load().operations
DOCUMENT = REPOSITORY / "docs/aws-compatibility.md"


def test_the_table_has_every_operation_of_the_model_and_no_other() -> None:
    assert set(TABLE) == set(MODEL)


@pytest.mark.parametrize(
    "operation", [name for name, entry in TABLE.items() if isinstance(entry, Fields)]
)
def test_an_operation_s_fields_are_those_of_the_model_each_once(operation: str) -> None:
    entry, shape = TABLE[operation], MODEL[operation].input
    assert isinstance(entry, Fields)

    named = [name for name, _ in entry]

    assert sorted(name for name in named if "." not in name) == sorted(members(shape))
    for name in named:
        outer, _, inner = name.partition(".")
        if inner:
            assert shape is not None
            assert inner in members(shape.members[outer].shape)


def test_what_is_said_to_work_is_there_and_nothing_else() -> None:
    # Those that invoke leave before there is an operation: `gateway/aws/invoke.py`.
    invoking = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
    working = {name for name, entry in TABLE.items() if isinstance(entry, Fields)}

    assert set(operations.load()) | invoking == working


def test_what_works_or_is_stored_is_not_refused() -> None:
    given = {"FunctionName": "f", "Code": {"ZipFile": b""}, "Role": "r"}

    assert refusal("CreateFunction", given) == ""


@pytest.mark.parametrize(
    ("operation", "given", "named"),
    [
        ("CreateFunction", {"VpcConfig": {"SubnetIds": ["s"]}}, "VpcConfig"),
        ("UpdateFunctionCode", {"S3ObjectStorageMode": "REFERENCE"}, "S3ObjectStorage"),
        ("CreateFunction", {"NewerThanWe": 1}, "NewerThanWe"),
        ("ListCapacityProviders", {}, "ListCapacityProviders"),
        ("NewerThanWe", {}, "NewerThanWe"),
    ],
)
def test_what_does_not_work_is_refused_by_its_name(
    operation: str, given: dict[str, Any], named: str
) -> None:
    assert named in refusal(operation, given)


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("CreateFunction", {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}),
        ("CreateFunction", {"FileSystemConfigs": []}),
        ("CreateFunction", {"Code": {"S3ObjectStorageMode": "COPY"}}),
        ("UpdateFunctionCode", {"S3ObjectStorageMode": "COPY", "ImageUri": ""}),
    ],
)
def test_what_asks_for_nothing_is_not_refused(
    operation: str, given: dict[str, Any]
) -> None:
    assert refusal(operation, given) == ""


def test_the_document_has_the_table_as_it_is() -> None:
    text = DOCUMENT.read_text()

    assert in_document(text) == text, (
        "run `python -m sandlot_engine.gateway.aws.support docs/aws-compatibility.md`"
    )


def test_a_document_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="support: begin"):
        in_document("no place")


def test_every_field_is_one_of_three_kinds() -> None:
    kinds = {
        kind
        for entry in TABLE.values()
        if isinstance(entry, Fields)
        for _, kind in entry
    }

    assert kinds == set(Support)


def members(shape: Shape | None) -> list[str]:
    return list(shape.members) if shape else []
