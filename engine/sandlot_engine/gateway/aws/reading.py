"""An HTTP request -> an operation's input, by the model (rest-json).

Everything that a caller can get wrong here is AWS's `SerializationException`, whose
texts (`NUMBER_VALUE can not be converted to a String`) are AWS's where they are known.
Constraints are not looked at: that is `checking`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from sandlot_engine.gateway.aws.service import Kind, Location, Member, Operation, Shape
from sandlot_engine.gateway.aws.values import (
    blob,
    from_json,
    from_text,
    malformed,
    parse_json,
    unexpected,
    utf8,
)

MAX_QUERY_FIELDS = 1_000
"""Parameters in one query string."""

MAX_UNKNOWN = 100
"""Unknown names that are reported; one is enough to refuse a request."""


class Read(NamedTuple):
    """What a request says.

    `unknown` names what no member of the operation takes: `VpcConfig.Speed` in the
    body, `?qualifier` in the query. AWS ignores those. We return them, so that the
    caller decides and none is ignored unseen: a misspelt `?Qualifier` of DeleteFunction
    deletes all of the function.
    """

    input: dict[str, Any]
    unknown: tuple[str, ...] = ()


def read(
    operation: Operation,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
    *,
    blobs: dict[str, bytes] | None = None,
) -> Read:
    """The input, under botocore's member names; what was not given, or null, is absent.

    Numbers, booleans, lists, maps and structures are Python's, blobs are `bytes`,
    timestamps are aware and in UTC. A list or map may hold None where the JSON has
    null, which `checking` refuses. A member that is the raw body is always there,
    empty if the body is. `labels` and `query` are decoded; `headers` are in any case.
    Those of `blobs` whose names stand in their places are taken out of it.

    Raises `AwsError` `SerializationException`, and nothing else whatever is sent.
    """
    shape = operation.input
    if shape is None:
        return Read({}, tuple(_unknown_query(operation, (), query)))
    reader = _Reader([], {} if blobs is None else blobs)
    values = _outside_body(shape, labels, query, headers)
    try:
        values |= reader.body(shape, body)
    except RecursionError:
        raise malformed("The request body is nested too deep") from None
    members = shape.members.values()
    unknown = [*_unknown_query(operation, members, query), *reader.unknown]
    return Read(values, tuple(unknown[:MAX_UNKNOWN]))


def query_pairs(raw: bytes) -> list[tuple[str, str]]:
    """The decoded parameters of a query string.

    Raises `AwsError` `SerializationException` for too many, and for what is not UTF-8.
    """
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
        )
    except ValueError as error:
        raise malformed("The query string can not be parsed") from error


# --- path, query, headers -----------------------------------------------------


def _outside_body(
    shape: Shape,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
) -> dict[str, Any]:
    lower = {name.lower(): value for name, value in headers.items()}
    values = {}
    for member in shape.members.values():
        value: Any = None
        match member.location:
            case Location.PATH:
                value = from_text(member, labels[member.wire])
            case Location.QUERY:
                value = _from_query(member, query, shape)
            case Location.HEADER:
                value = _from_header(member, lower.get(member.wire.lower()))
            case Location.HEADERS:
                value = _prefixed(member.wire.lower(), lower)
            case Location.STATUS | Location.BODY:
                continue
        if value is not None:
            values[member.name] = value
    return values


def _from_query(
    member: Member, query: Sequence[tuple[str, str]], shape: Shape
) -> Any | None:
    if member.shape.kind is Kind.MAP:
        return _rest_of_query(member, query, shape)
    given = [value for name, value in query if name == member.wire]
    if not given:
        return None
    if member.shape.kind is Kind.LIST:
        return [from_text(member, value) for value in given]
    if len(given) > 1:
        raise malformed(f"{member.wire} is given more than once")
    return from_text(member, given[0])


def _rest_of_query(
    member: Member, query: Sequence[tuple[str, str]], shape: Shape
) -> dict[str, Any] | None:
    taken = {m.wire for m in shape.members.values() if m.location is Location.QUERY}
    rest: dict[str, list[str]] = {}
    for name, value in query:
        if name not in taken:
            rest.setdefault(name, []).append(value)
    element = member.shape.element
    if element and element.kind is Kind.LIST:
        return rest or None
    return {name: values[-1] for name, values in rest.items()} or None


def _unknown_query(
    operation: Operation, members: Iterable[Member], query: Sequence[tuple[str, str]]
) -> list[str]:
    """Parameters that nobody takes; `X-Amz-` ones are the signature's."""
    asked = [m for m in members if m.location is Location.QUERY]
    if any(member.shape.kind is Kind.MAP for member in asked):
        return []
    known = {member.wire for member in asked} | operation.query
    names = dict.fromkeys(name for name, _ in query)
    return [
        f"?{name}"
        for name in names
        if name not in known and not name.lower().startswith("x-amz-")
    ]


def _from_header(member: Member, text: str | None) -> Any | None:
    if text is None:
        return None
    if member.is_json:
        return parse_json(blob(text))
    if member.shape.kind is Kind.LIST:
        return [from_text(member, part.strip()) for part in text.split(",")]
    return from_text(member, text)


def _prefixed(prefix: str, lower: Mapping[str, str]) -> dict[str, str] | None:
    found = {
        name.removeprefix(prefix): value
        for name, value in lower.items()
        if name.startswith(prefix)
    }
    return found or None


# --- the body -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reader:
    """One body's way through the shapes; gathers the names that none of them has."""

    unknown: list[str]
    blobs: dict[str, bytes]

    def body(self, shape: Shape, body: bytes) -> dict[str, Any]:
        if shape.payload:
            return self._payload(shape.members[shape.payload], body)
        # Without a member in it, a body is not read: clients send `{}`, or form data.
        if not shape.body or not body:
            return {}
        document = parse_json(body)
        if not isinstance(document, dict):
            raise unexpected(document, Kind.STRUCTURE)
        return self.structure(shape, document, "")

    def _payload(self, member: Member, body: bytes) -> dict[str, Any]:
        match member.shape.kind:
            case Kind.BLOB:
                return {member.name: body}
            case Kind.STRING:
                return {member.name: utf8(body)}
            case _ if not body:
                return {}
            case _:
                value = self.value(member, member.shape, parse_json(body), "")
                return {} if value is None else {member.name: value}

    def structure(
        self, shape: Shape, document: Mapping[str, Any], path: str
    ) -> dict[str, Any]:
        values = {}
        for wire, value in document.items():
            if member := shape.body.get(wire):
                if value is not None:
                    values[member.name] = self.value(
                        member, member.shape, value, f"{path}{wire}."
                    )
            elif wire != "__type" and len(self.unknown) < MAX_UNKNOWN:
                self.unknown.append(f"{path}{wire}")
        if shape.is_union and len(values) > 1:
            raise malformed(f"{shape.name} can have one member only")
        return values

    def value(self, member: Member, shape: Shape, value: Any, path: str) -> Any:
        """`value` as `shape`, which is the member's or within it; None stays None."""
        if value is None:
            return None
        match shape.kind:
            case Kind.STRUCTURE if isinstance(value, dict):
                return self.structure(shape, value, path)
            case Kind.MAP if isinstance(value, dict) and shape.element:
                return {
                    key: self.value(member, shape.element, entry, f"{path}{key}.")
                    for key, entry in value.items()
                }
            case Kind.LIST if isinstance(value, list) and shape.element:
                return [
                    self.value(member, shape.element, entry, path) for entry in value
                ]
        if shape.kind is Kind.BLOB and isinstance(value, str) and value in self.blobs:
            return self.blobs.pop(value)
        return from_json(member, shape.kind, value)
