"""Whatever AWS's model lets clients send, and what it just does not, is answered.

botocore sends it, its own checks off, to a real engine: nothing of it is our fault's
500, and what breaks the model is refused as AWS's model has it.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from sandlot_engine.gateway.aws.faults import UNMODELLED
from sandlot_engine.gateway.aws.service import (
    Kind,
    Location,
    Operation,
    Service,
    Shape,
)
from tests.compat.clients import (
    Cloud,
    Lambda,
    Refused,
    new_function,
    refusal_of,
    saying,
    unique,
    wait_active,
)
from tests.fakes.aws_inputs import has_constraints, inputs, spoilt

OPERATIONS = list(Service.load().operations.values())
SUBJECT = "subject"
"""The function that valid inputs are mostly about."""

FEW = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
OF_THE_MODEL = {
    *("ValidationException", "InvalidParameterValueException"),
    "InvalidRequestContentException",  # a client context that is none comes first
}
NOT_HERE = "NotImplementedException"
CODE = {"ZipFile": saying("a word")}


@pytest.fixture(scope="module")
def unchecked(cloud: Cloud) -> Iterator[Lambda]:
    """A client that sends what it is given, of an account that nobody else has."""
    account = cloud.account("any-input")
    client = account.aws(parameter_validation=False, read_timeout=30)
    yield client
    for page in client.get_paginator("list_functions").paginate():
        for each in page["Functions"]:
            client.delete_function(FunctionName=each["FunctionName"])
    cloud.engine.client().delete_tenant(account.id)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
@FEW
@given(data=st.data())
def test_what_the_model_allows_is_done_or_refused_by_name(
    unchecked: Lambda, operation: Operation, data: st.DataObject
) -> None:
    about_subject = data.draw(st.integers(0, 3)) > 0
    input_ = data.draw(inputs(operation))
    if about_subject:
        make_subject(unchecked)
        input_ = sensible(operation, input_)
    assume(can_be_sent(operation, input_))

    refusal = asked(unchecked, operation, input_)

    if refusal is not None and refusal.code != NOT_HERE:
        assert refusal.status < 500, refusal
        assert refusal.code in {*operation.errors, *UNMODELLED}, refusal


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if has_constraints(o)], ids=lambda o: o.name
)
@FEW
@given(data=st.data())
def test_what_breaks_the_model_is_refused_as_the_model_has_it(
    unchecked: Lambda, operation: Operation, data: st.DataObject
) -> None:
    bad = data.draw(spoilt(operation))
    input_ = bad.input
    if not bad.what.startswith(("FunctionName", "Qualifier")):
        # Invoke looks for the function first.
        make_subject(unchecked)
        input_ = about_the_subject(input_)
    assume(can_be_sent(operation, input_))

    refusal = asked(unchecked, operation, input_)

    assert refusal is not None, bad.what
    assert (refusal.status, refusal.code in OF_THE_MODEL) == (400, True), (
        bad.what,
        refusal,
    )


def make_subject(client: Lambda) -> None:
    """The function, with a version and an alias, unless it is there."""
    try:
        client.get_function_configuration(FunctionName=SUBJECT, Qualifier="live")
    except client.exceptions.ResourceNotFoundException:
        client.create_function(
            **new_function(CODE["ZipFile"], FunctionName=SUBJECT, Publish=True)
        )
        wait_active(client, SUBJECT)
        client.create_alias(FunctionName=SUBJECT, Name="live", FunctionVersion="1")


def sensible(operation: Operation, input_: dict[str, Any]) -> dict[str, Any]:
    """The same, but of things that there are, so that it gets further."""
    changed = dict(input_)
    if operation.name == "CreateFunction":
        return changed | new_function(CODE["ZipFile"], FunctionName=unique())
    if operation.name == "PublishLayerVersion":
        return changed | {"Content": CODE}
    if "ZipFile" in changed:
        changed |= CODE
    return changed if operation.name == "DeleteFunction" else about_the_subject(changed)


def about_the_subject(input_: dict[str, Any]) -> dict[str, Any]:
    there = {"FunctionName": SUBJECT, "Qualifier": "live"}
    return {name: there.get(name, value) for name, value in input_.items()}


def asked(
    client: Lambda, operation: Operation, input_: dict[str, Any]
) -> Refused | None:
    """How it is refused; None if it is not."""
    call = getattr(client, xform_name(operation.name))
    try:
        answer = call(**input_)
    except ClientError as error:
        return refusal_of(error)
    for stream in ("Payload", "EventStream"):
        if stream in answer:
            answer[stream].close()
    return None


def can_be_sent(operation: Operation, input_: dict[str, Any]) -> bool:
    """Whether it is on the wire what it is here.

    A path without one of its parts is another operation's; a header has one line; and
    in a query None is the word for it.
    """
    if operation.input is None:
        return True
    if operation.input.payload in operation.input.required - input_.keys():
        return False  # no body and an empty one are the same
    members = operation.input.members.values()
    for member in members:
        value = input_.get(member.name)
        match member.location:
            case Location.PATH if value is None or value == "":
                return False
            case Location.HEADER if not is_one_line(value):
                return False
            case Location.QUERY if isinstance(value, list) and None in value:
                return False
            case Location.QUERY | Location.HEADER if value in ("", []):
                return False
    return not has_none_that_cannot_be_sent(operation.input, input_)


def has_none_that_cannot_be_sent(shape: Shape | None, value: object) -> bool:
    """There botocore fails before it sends anything."""
    match value:
        case None:
            return shape is not None and shape.kind not in (Kind.STRING, Kind.BOOLEAN)
        case dict() if shape and shape.kind is Kind.STRUCTURE:
            return any(
                has_none_that_cannot_be_sent(shape.members[name].shape, each)
                for name, each in value.items()
            )
        case dict() | list() if shape:
            entries = value.values() if isinstance(value, dict) else value
            return any(has_none_that_cannot_be_sent(shape.element, e) for e in entries)
        case _:
            return False


def is_one_line(value: object) -> bool:
    return not isinstance(value, str) or (value.isascii() and value.isprintable())
