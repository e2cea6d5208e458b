"""The table of what works, held against AWS's own model."""

import pytest

from sandlot_engine.gateway.aws import operations, support
from sandlot_engine.gateway.aws.service import Service
from sandlot_engine.gateway.aws.support import TABLE, Fields, refusal

WORKING = [name for name, entry in TABLE.items() if isinstance(entry, Fields)]
INVOKING = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
"""They leave before there is an operation: see `gateway/aws/invoke.py`."""


def test_every_operation_of_the_model_is_in_the_table_and_no_other() -> None:
    assert set(Service.load().operations) == set(TABLE)


@pytest.mark.parametrize("name", WORKING)
def test_every_field_is_in_the_table_once(name: str) -> None:
    entry = TABLE[name]
    assert isinstance(entry, Fields)
    shape = Service.load().operation(name).input
    members = set(shape.members) if shape is not None else set()

    fields = [field for field, _ in entry]

    assert sorted(fields) == sorted(members)


def test_what_is_said_to_work_is_there_and_nothing_else() -> None:
    assert set(operations.load()) | INVOKING == set(WORKING)


def test_what_asks_for_something_refused_is_refused_by_name() -> None:
    given = {"FunctionName": "f", "VpcConfig": {"SubnetIds": ["subnet-1"]}}

    assert refusal("CreateFunction", given).startswith("VpcConfig is not supported: ")


@pytest.mark.parametrize(
    "nothing", [{}, {"SubnetIds": [], "SecurityGroupIds": []}, None]
)
def test_what_asks_for_nothing_is_no_reason_to_refuse(nothing: object) -> None:
    assert refusal("CreateFunction", {"VpcConfig": nothing}) == ""


def test_a_field_of_a_newer_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "TABLE", {"GetAlias": Fields(works="Name")})

    assert "newer" in support.refusal("GetAlias", {"Name": "a", "Shiny": 1})
    assert "GetShiny" in support.refusal("GetShiny", {})
