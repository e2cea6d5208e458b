"""What a request says, and what of it is no input at all."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.gateway.aws import values
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.reading import (
    MAX_QUERY_FIELDS,
    MAX_UNKNOWN,
    Read,
    query_pairs,
    read,
)
from sandlot_engine.gateway.aws.service import Service
from sandlot_engine.gateway.aws.values import MAX_VALUES

SERVICE = Service.load()


def read_as(
    name: str,
    body: bytes = b"",
    *,
    query: list[tuple[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Read:
    operation = SERVICE.operation(name)
    assert operation.input
    uri = [m.wire for m in operation.input.members.values() if m.location == "uri"]
    labels = dict.fromkeys(uri, "1")
    return read(operation, labels, query or [], headers or {}, body)


def input_of(name: str, body: Any) -> dict[str, Any]:
    return read_as(name, json.dumps(body).encode()).input


def test_values_have_the_types_of_the_model() -> None:
    found = input_of(
        "CreateEventSourceMapping",
        {
            "FunctionName": "f",
            "Enabled": True,
            "BatchSize": 10,
            "StartingPositionTimestamp": 1733148000.5,
            "Topics": ["t"],
            "Tags": {"a": "b"},
            "ScalingConfig": {"MaximumConcurrency": 5.0},
        },
    )

    assert found == {
        "FunctionName": "f",
        "Enabled": True,
        "BatchSize": 10,
        "StartingPositionTimestamp": datetime(2024, 12, 2, 14, 0, 0, 500_000, UTC),
        "Topics": ["t"],
        "Tags": {"a": "b"},
        "ScalingConfig": {"MaximumConcurrency": 5},
    }
    assert type(found["ScalingConfig"]["MaximumConcurrency"]) is int


def test_a_blob_is_decoded() -> None:
    found = input_of("UpdateFunctionCode", {"ZipFile": "UEsDBA=="})

    assert found["ZipFile"] == b"PK\x03\x04"


def test_null_is_as_absent_but_in_a_list() -> None:
    found = input_of("UpdateFunctionConfiguration", {"Role": None, "Layers": [None]})

    assert found == {"FunctionName": "1", "Layers": [None]}


def test_path_and_query_and_headers_are_bound() -> None:
    version = read_as("GetLayerVersion").input
    page = read_as("ListFunctions", query=[("MaxItems", "50"), ("Marker", "a b")]).input
    tags = read_as("UntagResource", query=[("tagKeys", "a"), ("tagKeys", "b")]).input
    invoke = read_as("Invoke", b"{}", headers={"x-amz-log-type": "Tail"}).input

    assert version == {"LayerName": "1", "VersionNumber": 1}
    assert page == {"MaxItems": 50, "Marker": "a b"}
    assert tags["TagKeys"] == ["a", "b"]
    assert invoke == {"FunctionName": "1", "LogType": "Tail", "Payload": b"{}"}


def test_times_and_truth_in_a_query_are_read() -> None:
    query = [
        ("StartedAfter", "2026-01-02T03:04:05Z"),
        ("StartedBefore", "1733148000"),
        ("ReverseOrder", "true"),
    ]

    found = read_as("ListDurableExecutionsByFunction", query=query).input

    assert found["StartedAfter"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found["StartedBefore"] == datetime(2024, 12, 2, 14, tzinfo=UTC)
    assert found["ReverseOrder"] is True


def test_a_raw_body_is_taken_as_it_is() -> None:
    assert read_as("Invoke", b"\xff no JSON").input["Payload"] == b"\xff no JSON"
    assert read_as("Invoke").input["Payload"] == b""


def test_a_body_that_is_one_structure_is_read_as_it() -> None:
    body = b'{"ErrorType": "E", "StackTrace": ["a"]}'

    found = read_as("StopDurableExecution", body).input

    assert found["Error"] == {"ErrorType": "E", "StackTrace": ["a"]}


def test_a_missing_body_is_an_empty_input() -> None:
    assert read_as("PublishVersion").input == {"FunctionName": "1"}


def test_a_body_of_an_operation_without_one_is_not_read() -> None:
    assert read_as("DeleteFunction", b"not JSON").input == {"FunctionName": "1"}


def test_what_no_member_takes_is_named() -> None:
    body = b'{"Runtime": "x", "runtime": "y", "VpcConfig": {"Speed": 1}, "__type": "T"}'

    found = read_as("UpdateFunctionConfiguration", body, query=[("qualifier", "1")])

    assert found.unknown == ("?qualifier", "runtime", "VpcConfig.Speed")


def test_the_signature_and_what_selects_the_operation_are_not_unknown() -> None:
    query = [("find", "LayerVersion"), ("Arn", "a"), ("X-Amz-Signature", "0")]

    found = read_as("GetLayerVersionByArn", query=query)

    assert found.unknown == ()


def test_few_of_many_unknown_names_are_kept() -> None:
    body = json.dumps({f"no{n}": 1 for n in range(MAX_UNKNOWN * 2)}).encode()

    assert len(read_as("CreateFunction", body).unknown) == MAX_UNKNOWN


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ({"MemorySize": "128"}, "STRING_VALUE can not be converted to an Integer"),
        ({"MemorySize": True}, "TRUE_VALUE can not be converted to an Integer"),
        ({"MemorySize": 128.5}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"MemorySize": 2**31}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"MemorySize": 10**60}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"Handler": 1}, "NUMBER_VALUE can not be converted to a String"),
        ({"Handler": False}, "FALSE_VALUE can not be converted to a String"),
        ({"Handler": {}}, "Start of structure or map found where not expected."),
        ({"Handler": []}, "Start of list found where not expected"),
        ({"Publish": "true"}, "STRING_VALUE can not be converted to a Boolean"),
        ({"Publish": 1}, "NUMBER_VALUE can not be converted to a Boolean"),
        ({"Layers": "l"}, "Expected list or null"),
        ({"Layers": {}}, "Start of structure or map found where not expected."),
        ({"Code": "c"}, "Expected structure or map or null"),
        ({"Code": []}, "Start of list found where not expected"),
        ({"Tags": 1}, "Expected structure or map or null"),
        ({"Tags": {"a": 1}}, "NUMBER_VALUE can not be converted to a String"),
        ({"Code": {"ZipFile": 1}}, "NUMBER_VALUE can not be converted to a Blob"),
        ({"Code": {"ZipFile": "a"}}, "STRING_VALUE can not be decoded as base64"),
        ({"Code": {"ZipFile": "YQ==!"}}, "STRING_VALUE can not be decoded as base64"),
        ({"Code": {"ZipFile": "ä==="}}, "STRING_VALUE can not be decoded as base64"),
        ({"Handler": "\ud800"}, "A string is not Unicode text"),
        ({"Tags": {"\udfff": ""}}, "A string is not Unicode text"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(member: Any, text: str) -> None:
    with pytest.raises(AwsError) as refusal:
        input_of("CreateFunction", member)

    assert (refusal.value.code, refusal.value.message) == (
        "SerializationException",
        text,
    )


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (b"{", "line 1, column 2"),
        (b"\xff", "invalid UTF-8 at byte 0"),
        (b"\xed\xa0\x80", "invalid UTF-8"),
        (b"\xef\xbb\xbf{}", "column 1"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"Role": [%s1]}' % (b"1," * MAX_VALUES), f"more than {MAX_VALUES} values"),
        (
            b'{"Role": [%s1], "Role": 1}' % (b"1," * MAX_VALUES),
            f"more than {MAX_VALUES} values",
        ),
        (b'{"Role": %s' % (b"{" * MAX_VALUES), f"more than {MAX_VALUES} values"),
        (b'{"Role": %s' % (b"[" * MAX_VALUES), f"more than {MAX_VALUES} values"),
        (b'{"MemorySize": %s}' % (b"9" * 10_000), "more than 64 digits"),
        (b'{"MemorySize": 1e999}', "NUMBER_VALUE"),
        (b'{"MemorySize": NaN}', "NaN is no JSON"),
        (b'{"MemorySize": -Infinity}', "-Infinity is no JSON"),
        (b'{"Role": "a", "Role": "b"}', "a key is there twice"),
        (b"[]", "Start of list"),
        (b'"x"', "Expected structure"),
        (b"null", "Expected structure"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, because: str) -> None:
    with pytest.raises(AwsError, match=because) as refusal:
        read_as("CreateFunction", body)

    assert refusal.value.code == "SerializationException"
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize(
    "text",
    [json.dumps({"a": [1] * MAX_VALUES}), '",{[' * MAX_VALUES],
)
def test_what_is_in_a_text_is_no_value(text: str) -> None:
    """As an event of 256 KB that a schedule has."""
    body = {"Environment": {"Variables": {"a": text}}, "Description": text}

    assert input_of("CreateFunction", body) == body


@pytest.mark.parametrize(
    "body",
    [
        {"Tags": {str(number): "" for number in range(MAX_VALUES + 1)}},
        {"Layers": [","] * (MAX_VALUES + 1)},
        {"a": {"b": {"c": {"d": "," * (MAX_VALUES + 1)}}}},  # as deep nobody looks
    ],
)
def test_what_is_no_text_is_counted_or_more(body: Any) -> None:
    with pytest.raises(AwsError, match=f"more than {MAX_VALUES} values"):
        input_of("CreateFunction", body)


_TEXTS = st.text(st.sampled_from('a,[{"\\ '), max_size=4)
_DOCUMENTS = st.recursive(
    _TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
)


@given(st.dictionaries(_TEXTS, _DOCUMENTS))
def test_no_value_goes_uncounted(document: dict[str, Any]) -> None:
    def within(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value
        if not isinstance(value, dict | list):
            return 0
        return len(value) + sum(map(within, inner))

    counted = values._values(  # noqa: SLF001
        json.dumps(document).encode(),
        values._COUNTED_LEVELS,  # noqa: SLF001
    )

    assert counted >= within(document)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_nested_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """However few values it has."""
    monkeypatch.setattr(values, "MAX_VALUES", len(body))

    with pytest.raises(AwsError, match="nested too deep") as refusal:
        read_as("CreateFunction", body)

    assert refusal.value.code == "SerializationException"


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("ListFunctions", [("MaxItems", "many")]),
        ("ListFunctions", [("MaxItems", "")]),
        ("ListFunctions", [("MaxItems", "1.5")]),
        ("ListFunctions", [("MaxItems", "٣")]),
        ("ListFunctions", [("MaxItems", "9" * 5_000)]),
        ("GetFunction", [("Qualifier", "1"), ("Qualifier", "2")]),
        ("GetDurableExecution", [("IncludeExecutionData", "yes")]),
        ("ListDurableExecutionsByFunction", [("StartedAfter", "soon")]),
        ("ListDurableExecutionsByFunction", [("StartedAfter", "1e300")]),
        ("ListDurableExecutionsByFunction", [("StartedAfter", "nan")]),
        ("ListDurableExecutionsByFunction", [("StartedAfter", "1_0")]),
        (
            "ListDurableExecutionsByFunction",
            [("StartedAfter", "0001-01-01T00:00+23:59")],
        ),
    ],
)
def test_a_query_that_says_nothing_is_refused(
    name: str, query: list[tuple[str, str]]
) -> None:
    with pytest.raises(AwsError) as refusal:
        read_as(name, query=query)

    assert refusal.value.code == "SerializationException"


@pytest.mark.parametrize("value", [1e300, -1e20, 10**60])
def test_a_time_that_no_calendar_has_is_refused(value: float) -> None:
    with pytest.raises(AwsError, match="can not be converted to a Date"):
        input_of("CreateEventSourceMapping", {"StartingPositionTimestamp": value})


def test_a_query_string_is_decoded() -> None:
    assert query_pairs(b"a=1&b=%24LATEST+x&c=&c") == [
        ("a", "1"),
        ("b", "$LATEST x"),
        ("c", ""),
        ("c", ""),
    ]


@pytest.mark.parametrize("raw", [b"a=%ff", b"\xff", b"a&" * (MAX_QUERY_FIELDS + 1)])
def test_a_query_string_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(AwsError, match="can not be parsed"):
        query_pairs(raw)
