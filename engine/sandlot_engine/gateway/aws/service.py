"""AWS's own model of an API, as botocore ships it: operations, routes, shapes.

Each is loaded once. Whatever a newer botocore adds is here without a change to this
code: it is compiled from the JSON into what the readers and writers beside this file
walk.
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from sandlot_engine.catalog.validation import (
    EPHEMERAL_STORAGE_MB,
    MEMORY_MB,
    TIMEOUT_S,
)
from sandlot_engine.gateway.aws.faults import AwsError

LIMITS = {
    "Timeout": TIMEOUT_S[-1],
    "MemorySize": MEMORY_MB[-1],
    "EphemeralStorageSize": EPHEMERAL_STORAGE_MB[-1],
}
"""The most that is allowed of Lambda's shapes where botocore's model has more: what
AWS's managed instances and accelerators may have, of which there are none here."""


class Kind(StrEnum):
    """What a shape is in JSON and in Python."""

    STRUCTURE = "structure"
    LIST = "list"
    MAP = "map"
    STRING = "string"
    INTEGER = "integer"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    BLOB = "blob"
    TIMESTAMP = "timestamp"


class Location(StrEnum):
    """Where in a request or an answer a member travels."""

    BODY = "body"
    PATH = "uri"
    QUERY = "querystring"
    HEADER = "header"
    HEADERS = "headers"
    """All headers with a prefix, which is the member's wire name."""
    STATUS = "statusCode"


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Shape:
    """One shape of the model. Shapes may contain themselves."""

    name: str
    kind: Kind

    members: dict[str, "Member"] = field(default_factory=dict)
    """Of a structure, by botocore's name, in the model's order."""

    body: dict[str, "Member"] = field(default_factory=dict)
    """Those of `members` that are in a JSON body, by their name there."""

    required: frozenset[str] = frozenset()

    payload: str = ""
    """The member that is the whole body, if one is."""

    key: "Shape | None" = None
    element: "Shape | None" = None
    """What a list has, or a map's values."""

    least: float | None = None
    most: float | None = None
    """Of a number its value, of text its characters, of a blob its bytes, of the others
    their entries."""

    pattern: str = ""
    enum: tuple[str, ...] = ()
    timestamp_format: str = ""
    is_sensitive: bool = False
    is_union: bool = False
    is_event_stream: bool = False

    status: int = 0
    """Of an error: its HTTP status."""

    is_fault: bool = False
    """Of an error: the service's, not the caller's."""

    def __repr__(self) -> str:
        return f"<Shape {self.name} · {self.kind}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Member:
    """One member of a structure, and how it travels."""

    name: str
    wire: str
    shape: Shape
    location: Location = Location.BODY
    timestamp_format: str = ""
    """Empty where the location's own is meant."""

    is_json: bool = False
    """A string that holds JSON; in a header it is base64 as well."""

    is_event_header: bool = False
    is_event_payload: bool = False

    def __repr__(self) -> str:
        return f"<Member {self.name} · {self.shape.name} in {self.location}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Operation:
    """One thing that can be asked for."""

    name: str
    method: str
    status: int
    """Of an answer that went well, unless a member of the output says another."""

    input: Shape | None
    output: Shape | None
    errors: Mapping[str, Shape]
    query: frozenset[str] = frozenset()
    """Names of the literal query parameters that select it."""

    def __repr__(self) -> str:
        return f"<Operation {self.name} · {self.method}>"


@cache
def takes_package(operation: Operation) -> bool:
    """Whether a zip may be within the JSON of a request."""
    members = list(operation.input.body.values()) if operation.input else []
    members += [each for member in members for each in member.shape.body.values()]
    return any(member.shape.kind is Kind.BLOB for member in members)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Service:
    """The whole API. `Service.load()` is Lambda's."""

    operations: Mapping[str, Operation]
    errors: Mapping[str, Shape]
    _routes: "_Node"

    def __repr__(self) -> str:
        return f"<Service · {len(self.operations)} operations>"

    @staticmethod
    def load(name: str = "lambda") -> "Service":
        """The model of the installed botocore, by its name there; read at the first
        call."""
        return _load(name)

    def operation(self, name: str) -> Operation:
        """Raises `KeyError` for what the model does not have."""
        return self.operations[name]

    def begins(self, path: str) -> bool:
        """Whether any operation's path has the first part that this one has, which is
        the date of a version of the API."""
        return path.split("/", 2)[1] in self._routes.literals

    def match(
        self, method: str, path: str, query: Sequence[tuple[str, str]]
    ) -> tuple[Operation, dict[str, str]]:
        """The operation that a request is for, and its path's labels, decoded.

        `path` is as it was sent, percent-encoded; `query` is decoded.

        Raises `AwsError`: `UnknownOperationException` where nothing has that path,
        `MethodNotAllowedException` where something has, under another method.
        """
        allowed: set[str] = set()
        given = set(query)
        for node, values in _walk(self._routes, _segments(path), 0):
            for route in node.routes.get(method, ()):
                if route.literals <= given:
                    return route.operation, route.labelled(values)
            allowed |= node.routes.keys()
        if allowed:
            raise AwsError(
                "MethodNotAllowedException",
                f"{method} is not allowed for {path[:_SHOWN]}; "
                f"{', '.join(sorted(allowed))} is",
            )
        raise AwsError(
            "UnknownOperationException",
            f"There is no operation with the path {path[:_SHOWN]}",
        )


_SHOWN = 200
"""Characters of a path that are repeated in a message."""

_LABEL = re.compile(r"\{(\w+)(\+?)\}")


def _segments(path: str) -> list[str]:
    """The decoded parts of a path. A trailing slash is as none, as AWS documents it."""
    try:
        parts = [unquote(part, errors="strict") for part in path.split("/")]
    except UnicodeDecodeError as error:
        raise AwsError(
            "SerializationException", "The path is not percent-encoded UTF-8"
        ) from error
    if len(parts) > 2 and not parts[-1]:
        parts.pop()
    return parts[1:]


@dataclass(frozen=True, slots=True)
class _Route:
    operation: Operation
    labels: tuple[str, ...]
    literals: frozenset[tuple[str, str]]
    """Query parameters that must be there for this operation to be meant."""

    def labelled(self, values: Sequence[str]) -> dict[str, str]:
        return dict(zip(self.labels, values, strict=True))


@dataclass(slots=True)
class _Node:
    """What can follow a path's beginning: a trie, one level a segment."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    label: "_Node | None" = None
    greedy: "_Node | None" = None
    routes: dict[str, list[_Route]] = field(default_factory=dict)
    """By method; those with more literals in the query first."""


def _walk(
    node: _Node, segments: Sequence[str], at: int
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """The ends that fit, and what their labels stand for; literals before labels.

    Goes as deep as the model's longest path, however long the request's is.
    """
    if at == len(segments):
        if node.routes:
            yield node, ()
        return
    if literal := node.literals.get(segments[at]):
        yield from _walk(literal, segments, at + 1)
    if node.label:
        for end, values in _walk(node.label, segments, at + 1):
            yield end, (segments[at], *values)
    if node.greedy:
        for after in range(len(segments), at, -1):
            for end, values in _walk(node.greedy, segments, after):
                yield end, ("/".join(segments[at:after]), *values)


@cache
def _load(name: str) -> Service:
    model = document(name)
    return compiled(_limited(model) if name == "lambda" else model)


def document(name: str) -> Mapping[str, Any]:
    """The newest `service-2` of botocore's own copy: what lies in ~/.aws/models must
    not change the API."""
    # As a function: an engine whose HTTP is served by workers has no model.
    from botocore import BOTOCORE_ROOT

    *_, last = sorted(Path(BOTOCORE_ROOT, "data", name).glob("*/service-2.*"))
    if last.name == "service-2.json.gz":
        model: Mapping[str, Any] = json.loads(gzip.decompress(last.read_bytes()))
        return model
    # There is something beside it that is to be merged, or none is compressed.
    return by_botocore(name)


def by_botocore(name: str) -> Mapping[str, Any]:
    """The same, by the loader that botocore has: it brings urllib3, and their imports
    take a tenth of a second of each start."""
    from botocore.loaders import Loader

    loader = Loader(
        extra_search_paths=[Loader.BUILTIN_DATA_PATH],
        include_default_search_paths=False,
    )
    model: Mapping[str, Any] = loader.load_service_model(name, "service-2")
    return model


def _limited(model: Mapping[str, Any]) -> Mapping[str, Any]:
    shapes = {
        name: {**entry, "max": LIMITS[name]} if name in LIMITS else entry
        for name, entry in model["shapes"].items()
    }
    return {**model, "shapes": shapes}


def compiled(model: Mapping[str, Any]) -> Service:
    """The service of a `service-2` document."""
    shapes = _Shapes(model["shapes"])
    operations = {
        name: _operation(name, entry, shapes)
        for name, entry in model["operations"].items()
    }
    errors = {
        name: shapes.get(name)
        for name, entry in model["shapes"].items()
        if entry.get("exception")
    }
    routes = _Node()
    for name, operation in operations.items():
        _add_route(routes, operation, model["operations"][name]["http"]["requestUri"])
    return Service(operations, errors, routes)


def _operation(name: str, entry: Mapping[str, Any], shapes: "_Shapes") -> Operation:
    http = entry["http"]
    return Operation(
        name=name,
        method=http["method"],
        status=http.get("responseCode", 200),
        input=shapes.get(entry["input"]["shape"]) if "input" in entry else None,
        output=shapes.get(entry["output"]["shape"]) if "output" in entry else None,
        errors={e["shape"]: shapes.get(e["shape"]) for e in entry.get("errors", ())},
        query=frozenset(key for key, _ in _literals(http["requestUri"])),
    )


def _literals(uri: str) -> list[tuple[str, str]]:
    return parse_qsl(uri.partition("?")[2], keep_blank_values=True)


def _add_route(root: _Node, operation: Operation, uri: str) -> None:
    node, labels = root, list[str]()
    for segment in uri.partition("?")[0].strip("/").split("/"):
        if label := _LABEL.fullmatch(segment):
            labels.append(label[1])
            node = _labelled(node, is_greedy=bool(label[2]))
        else:
            node = node.literals.setdefault(segment, _Node())
    routes = node.routes.setdefault(operation.method, [])
    routes.append(_Route(operation, tuple(labels), frozenset(_literals(uri))))
    routes.sort(key=lambda route: -len(route.literals))


def _labelled(node: _Node, *, is_greedy: bool) -> _Node:
    if is_greedy:
        node.greedy = node.greedy or _Node()
        return node.greedy
    node.label = node.label or _Node()
    return node.label


class _Shapes:
    """Compiles a shape once, so that those that contain themselves come to an end."""

    def __init__(self, model: Mapping[str, Mapping[str, Any]]) -> None:
        self._model = model
        self._done: dict[str, Shape] = {}

    def get(self, name: str) -> Shape:
        if name not in self._done:
            shape = self._done[name] = self._shape(name, self._model[name])
            # The members last: one of them may be this shape again.
            self._fill(shape, self._model[name].get("members", {}))
        return self._done[name]

    def _shape(self, name: str, entry: Mapping[str, Any]) -> Shape:
        element = entry.get("member") or entry.get("value")
        error = entry.get("error", {})
        return Shape(
            name=name,
            kind=Kind(entry["type"]),
            required=frozenset(entry.get("required", ())),
            payload=entry.get("payload", ""),
            key=self.get(entry["key"]["shape"]) if "key" in entry else None,
            element=self.get(element["shape"]) if element else None,
            least=entry.get("min"),
            most=entry.get("max"),
            pattern=entry.get("pattern", ""),
            enum=tuple(entry.get("enum", ())),
            timestamp_format=entry.get("timestampFormat", ""),
            is_sensitive=entry.get("sensitive", False),
            is_union=entry.get("union", False),
            is_event_stream=entry.get("eventstream", False),
            status=error.get("httpStatusCode", 0) or (400 if "error" in entry else 0),
            is_fault=entry.get("fault", False),
        )

    def _fill(self, shape: Shape, members: Mapping[str, Mapping[str, Any]]) -> None:
        for name, entry in members.items():
            member = self._member(name, entry)
            shape.members[name] = member
            if member.location is Location.BODY:
                shape.body[member.wire] = member

    def _member(self, name: str, entry: Mapping[str, Any]) -> Member:
        shape = self.get(entry["shape"])
        return Member(
            name=name,
            wire=entry.get("locationName", name),
            shape=shape,
            location=Location(entry.get("location", "body")),
            timestamp_format=entry.get("timestampFormat", shape.timestamp_format),
            is_json=entry.get("jsonvalue", False),
            is_event_header=entry.get("eventheader", False),
            is_event_payload=entry.get("eventpayload", False),
        )
