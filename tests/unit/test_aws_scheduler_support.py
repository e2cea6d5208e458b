"""The Scheduler's table, against AWS's model."""

import pytest

from sandlot_engine.gateway.aws.scheduler.operations import OPERATIONS
from sandlot_engine.gateway.aws.scheduler.support import TABLE
from sandlot_engine.gateway.aws.service import Service
from sandlot_engine.gateway.aws.support import Fields

MODEL = Service.load("scheduler").operations
OF_TARGET = {"Arn", "RoleArn", "Input", "RetryPolicy", "DeadLetterConfig"}
"""Of a Target, what is not refused."""


def test_every_operation_of_the_model_is_in_the_table_and_works() -> None:
    assert set(TABLE) == set(MODEL) == set(OPERATIONS)


@pytest.mark.parametrize("operation", list(TABLE))
def test_an_operations_fields_are_those_of_the_model_each_once(operation: str) -> None:
    entry, shape = TABLE[operation], MODEL[operation].input
    assert isinstance(entry, Fields)
    assert shape is not None

    named = [name for name, _ in entry]

    outer = [name for name in named if "." not in name]
    assert sorted(outer) == sorted(shape.members)
    within = {name.partition(".")[2] for name in named if "." in name}
    if within:
        target = shape.members["Target"].shape
        assert within | OF_TARGET == set(target.members)
