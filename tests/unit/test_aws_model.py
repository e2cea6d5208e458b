"""The whole of AWS's model, operation by operation, against botocore's own clients."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.awsrequest import HeadersDict
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandlot_engine.gateway.aws.checking import check, pattern_of
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.reading import Read, query_pairs, read
from sandlot_engine.gateway.aws.service import Kind, Operation, Service, Shape
from sandlot_engine.gateway.aws.writing import Answer, write
from tests.fakes.aws_inputs import has_constraints, inputs, outputs, spoilt

SERVICE = Service.load()
OPERATIONS = list(SERVICE.operations.values())
BOTOCORE = ServiceModel(Loader().load_service_model("lambda", "service-2"), "lambda")
SERIALIZER = create_serializer("rest-json", include_validation=False)
PARSER = create_parser("rest-json")

FEW = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def streams_events(operation: Operation) -> bool:
    """`test_aws_eventstream.py` reads what these answer."""
    members = operation.output.members.values() if operation.output else ()
    return any(member.shape.is_event_stream for member in members)


each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)


@each_operation
@FEW
@given(st.data())
def test_what_botocore_sends_is_read_back_and_allowed(
    operation: Operation, data: st.DataObject
) -> None:
    given_input = data.draw(inputs(operation))

    found, result = over_the_wire(operation, given_input)
    check(found, result.input)

    assert found is operation
    assert without_empty_payload(operation, result.input) == without_empty_payload(
        operation, given_input
    )
    assert result.unknown == ()


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if has_constraints(o)], ids=lambda o: o.name
)
@FEW
@given(st.data())
def test_what_breaks_one_constraint_is_refused(
    operation: Operation, data: st.DataObject
) -> None:
    bad = data.draw(spoilt(operation))

    with pytest.raises(AwsError) as refusal:
        check(operation, bad.input)

    expected = {"ValidationException", "InvalidParameterValueException"}
    assert refusal.value.code in expected, bad.what


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if not streams_events(o)], ids=lambda o: o.name
)
@FEW
@given(st.data())
def test_what_is_written_botocore_reads(
    operation: Operation, data: st.DataObject
) -> None:
    output = data.draw(outputs(operation))

    answer = write(operation, output, "some-id")
    parsed = parse(operation, answer)

    metadata = parsed.pop("ResponseMetadata")
    assert without_empty_payload(operation, parsed) == without_empty_payload(
        operation, output
    ) | status_of(operation, answer.status)
    assert metadata["RequestId"] == "some-id"


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@each_operation
@FEW
@given(st.data())
def test_any_body_is_read_or_refused(operation: Operation, data: st.DataObject) -> None:
    names = list(operation.input.body) if operation.input else []
    keys = st.sampled_from(names) | st.text() if names else st.text()
    documents = st.dictionaries(keys, JSON_LIKE)
    body = data.draw(st.binary() | documents.map(dumped))
    labels = dict.fromkeys(label_names(operation), data.draw(st.text()))
    pairs = data.draw(st.lists(st.tuples(st.text(), st.text())))

    try:
        check(operation, read(operation, labels, pairs, {}, body).input)
    except AwsError as refusal:
        assert refusal.code in {  # noqa: PT017 -- it may also be allowed
            "SerializationException",
            "ValidationException",
            "InvalidParameterValueException",
        }


def test_python_compiles_every_pattern_of_the_model() -> None:
    patterned = [shape for shape in every_shape() if shape.pattern]

    compiled = [pattern_of(shape) for shape in patterned]

    assert len(compiled) > 50


def test_every_pattern_is_text_s_alone() -> None:
    assert {s.kind for s in every_shape() if s.pattern or s.enum} == {Kind.STRING}


def test_no_pattern_takes_long_over_the_longest_text_it_is_tried_with() -> None:
    # Whoever goes exponential here never comes back: the suite's deadline is the test.
    for shape in every_shape():
        if shape.pattern:
            longest = int(min(shape.most or 10_000, 10_000))
            for piece in ("a", "a-", "aa.", "0", ":", "a:", "arn:aws:", "$LATEST", "-"):
                text = (piece * longest)[: longest - 1] + "\n"
                pattern_of(shape).fullmatch(text)


def over_the_wire(
    operation: Operation, values: dict[str, Any]
) -> tuple[Operation, Read]:
    """As botocore sends it, and we find it."""
    sent = SERIALIZER.serialize_to_request(
        values, BOTOCORE.operation_model(operation.name)
    )
    path, _, literal = sent["url_path"].partition("?")
    query = query_pairs(
        "&".join(
            filter(None, [literal, urlencode(sent["query_string"], doseq=True)])
        ).encode()
    )
    found, labels = SERVICE.match(sent["method"], path, query)
    body = sent["body"]
    body = body.encode() if isinstance(body, str) else bytes(body or b"")
    return found, read(found, labels, query, dict(sent["headers"]), body)


def parse(operation: Operation, answer: Answer) -> dict[str, Any]:
    """As botocore reads it. What is raw comes from a stream there, not as `bytes`."""
    payload = operation.output.payload if operation.output else ""
    shape: Any = BOTOCORE.operation_model(operation.name).output_shape
    response = {
        "status_code": answer.status,
        "headers": HeadersDict(dict(answer.headers)),
        "body": bytearray(answer.body) if payload else answer.body,
    }
    return dict(PARSER.parse(response, shape))


def without_empty_payload(
    operation: Operation, values: dict[str, Any]
) -> dict[str, Any]:
    """What is the whole body, and empty, is on the wire as what is not there."""
    shapes = [shape for shape in (operation.input, operation.output) if shape]
    payloads = {shape.payload for shape in shapes}
    return {k: v for k, v in values.items() if k not in payloads or v}


def status_of(operation: Operation, status: int) -> dict[str, int]:
    """The member that has the status is there, given or not."""
    members = operation.output.members.values() if operation.output else ()
    return {m.name: status for m in members if m.location == "statusCode"}


def label_names(operation: Operation) -> list[str]:
    members = operation.input.members.values() if operation.input else ()
    return [member.wire for member in members if member.location == "uri"]


def dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


def every_shape() -> list[Shape]:
    found: dict[str, Shape] = {}
    waiting = [
        shape
        for operation in OPERATIONS
        for shape in (operation.input, operation.output, *operation.errors.values())
        if shape
    ]
    while waiting:
        shape = waiting.pop()
        if shape.name not in found:
            found[shape.name] = shape
            waiting += [member.shape for member in shape.members.values()]
            waiting += [part for part in (shape.key, shape.element) if part]
    return list(found.values())
