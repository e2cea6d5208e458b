"""Inputs and outputs of AWS's operations, made from the model's own constraints.

`inputs(operation)` are strategies of what an operation takes; `spoilt(operation)` of
what it must refuse, each with one constraint broken; `outputs(operation)` of what it
may answer. All have botocore's member names.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

from sandlot_engine.gateway.aws.checking import pattern_of
from sandlot_engine.gateway.aws.service import (
    Kind,
    Location,
    Member,
    Operation,
    Shape,
)

MOST_ENTRIES = 3
"""Of a list or a map that is made, where the model does not ask for more."""

LONGEST = 100_000
"""Characters up to which a text is made too long."""

_TEXT = st.characters(exclude_categories=["Cs"])
_HEADER = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
_ANYTHING = frozenset({".*", r"[\s\S]*", r"[\s\S]+"})
_SAMPLES = {r"\p{L}": "a-zA-Zäß中", r"\p{Z}": " ", r"\p{N}": "0-9"}
"""A few of each category, that a strategy need not know all of Unicode."""


class Spoilt(NamedTuple):
    """An input with one constraint broken, and which."""

    input: dict[str, Any]
    what: str


def inputs(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    """What the model lets `operation` have."""
    return _structures(operation.input) if operation.input else st.just({})


def outputs(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    """What the model lets `operation` answer, but for event streams."""
    return _structures(operation.output) if operation.output else st.just({})


@st.composite
def spoilt(draw: st.DrawFn, operation: Operation) -> Spoilt:
    """An input of `operation`, which has constraints, with one of them broken."""
    good = draw(inputs(operation))
    assert operation.input
    ways = list(_ways(operation.input, good, ()))
    way = draw(st.sampled_from(ways))
    return Spoilt(_replaced(good, way), f"{'.'.join(map(str, way.path))}: {way.what}")


def has_constraints(operation: Operation) -> bool:
    """Whether any input can be wrong: some operations have none, or all is optional."""
    shape = operation.input
    return shape is not None and bool(shape.required)


# --- what is allowed ----------------------------------------------------------


@cache
def _structures(shape: Shape) -> st.SearchStrategy[dict[str, Any]]:
    members = [m for m in shape.members.values() if not m.shape.is_event_stream]
    required = {m.name: _members(m) for m in members if m.name in shape.required}
    optional = {m.name: _members(m) for m in members if m.name not in shape.required}
    if shape.is_union:
        return st.one_of(
            [st.fixed_dictionaries({n: v}) for n, v in (required | optional).items()]
        )
    return st.fixed_dictionaries(required, optional=optional)


def _members(member: Member) -> st.SearchStrategy[Any]:
    match member.location:
        case Location.STATUS:
            return st.sampled_from([200, 202])
        case Location.HEADER if member.shape.kind is Kind.STRING and not (
            member.shape.pattern or member.shape.enum
        ):
            return st.text(_HEADER, min_size=1, max_size=20)
        case Location.QUERY | Location.HEADER if member.shape.kind is Kind.LIST:
            # An empty one is none on the wire.
            return _values(member.shape).filter(bool)
        case _:
            return _values(member.shape)


@cache
def _values(shape: Shape) -> st.SearchStrategy[Any]:
    match shape.kind:
        case Kind.STRUCTURE:
            return st.deferred(lambda: _structures(shape))
        case Kind.LIST:
            assert shape.element
            least, most = _entries(shape)
            return st.lists(_values(shape.element), min_size=least, max_size=most)
        case Kind.MAP:
            assert shape.element
            assert shape.key
            least, most = _entries(shape)
            return st.dictionaries(
                _values(shape.key),
                _values(shape.element),
                min_size=least,
                max_size=most,
            )
        case Kind.STRING:
            return _texts(shape)
        case _:
            return _plain(shape)


def _plain(shape: Shape) -> st.SearchStrategy[Any]:
    match shape.kind:
        case Kind.INTEGER | Kind.LONG:
            bits = 31 if shape.kind is Kind.INTEGER else 63
            return st.integers(
                -(1 << bits) if shape.least is None else int(shape.least),
                (1 << bits) - 1 if shape.most is None else int(shape.most),
            )
        case Kind.FLOAT | Kind.DOUBLE:
            return st.floats(
                shape.least, shape.most, allow_nan=False, allow_infinity=False
            )
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.BLOB:
            return st.binary(min_size=int(shape.least or 0), max_size=30)
        case _:
            return _moments()


def _moments() -> st.SearchStrategy[datetime]:
    # Whole seconds: botocore sends no more.
    return st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))


def _entries(shape: Shape) -> tuple[int, int]:
    least = int(shape.least or 0)
    most = MOST_ENTRIES if shape.most is None else int(shape.most)
    return least, max(least, min(most, MOST_ENTRIES))


def _texts(shape: Shape) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    least, most = int(shape.least or 0), shape.most
    if not shape.pattern or shape.pattern in _ANYTHING:
        # `.` is no line break.
        longest = max(least, 20 if most is None else min(int(most), 20))
        texts = st.text(_TEXT, min_size=least, max_size=longest)
        return texts.filter(lambda text: _is_allowed(shape, text))
    sample = shape.pattern
    for category, few in _SAMPLES.items():
        sample = sample.replace(category, few)
    return (
        st.from_regex(re.compile(sample, re.ASCII), fullmatch=True)
        .map(lambda text: text.ljust(least, "a"))
        .filter(lambda text: _is_allowed(shape, text))
    )


def _is_allowed(shape: Shape, text: str) -> bool:
    if len(text) < (shape.least or 0) or len(text) > (shape.most or LONGEST):
        return False
    if shape.name.endswith("FunctionName") and len(text) > 64:
        return False
    return not shape.pattern or pattern_of(shape).fullmatch(text) is not None


# --- what is not --------------------------------------------------------------


class _Way(NamedTuple):
    """A way to spoil: what to put where; `_GONE` takes the member away."""

    path: tuple[str | int, ...]
    value: Any
    what: str


_GONE = object()


def _ways(shape: Shape, value: Any, path: tuple[str | int, ...]) -> Iterator[_Way]:
    match shape.kind:
        case Kind.STRUCTURE:
            for name, item in value.items():
                if name in shape.required:
                    yield _Way((*path, name), _GONE, "is required")
                yield from _ways(shape.members[name].shape, item, (*path, name))
        case Kind.LIST:
            assert shape.element
            yield from _wrong_sizes(shape, value, path)
            for index, item in enumerate(value):
                yield _Way((*path, index), None, "is no entry")
                yield from _ways(shape.element, item, (*path, index))
        case Kind.MAP:
            assert shape.element
            for key, item in value.items():
                yield _Way((*path, key), None, "is no value")
                yield from _ways(shape.element, item, (*path, key))
        case Kind.STRING:
            yield from _wrong_texts(shape, value, path)
        case Kind.INTEGER | Kind.LONG | Kind.DOUBLE | Kind.FLOAT:
            if shape.least is not None:
                yield _Way(path, shape.least - 1, "is too small")
            if shape.most is not None:
                yield _Way(path, shape.most + 1, "is too large")
        case Kind.BLOB if shape.most is not None and shape.most < 2 * 1024 * 1024:
            yield _Way(path, bytes(int(shape.most) + 1), "is too long")
        case _:
            return


def _wrong_sizes(
    shape: Shape, value: list[Any], path: tuple[str | int, ...]
) -> Iterator[_Way]:
    if shape.least:
        yield _Way(path, value[: int(shape.least) - 1], "has too few")
    if shape.most is not None and value:
        yield _Way(path, value[:1] * (int(shape.most) + 1), "has too many")


def _wrong_texts(
    shape: Shape, value: str, path: tuple[str | int, ...]
) -> Iterator[_Way]:
    if shape.enum:
        yield _Way(path, "no-such-value", "is not in the enum")
        return
    if shape.least:
        yield _Way(path, value[: int(shape.least) - 1], "is too short")
    if shape.most is not None and shape.most < LONGEST:
        yield _Way(path, value.ljust(int(shape.most) + 1, "a"), "is too long")
    if shape.pattern:
        for wrong in ("\n", "!\n", "ä ö\n", "\0" * int(shape.least or 1)):
            if not pattern_of(shape).fullmatch(wrong):
                yield _Way(path, wrong, "does not match")


def _replaced(good: dict[str, Any], way: _Way) -> dict[str, Any]:
    changed = deepcopy(good)
    place: Any = changed
    for step in way.path[:-1]:
        place = place[step]
    if way.value is _GONE:
        del place[way.path[-1]]
    else:
        place[way.path[-1]] = way.value
    return changed
