"""The model's constraints -> AWS's `ValidationException`, in AWS's words.

    2 validation errors detected: Value '' at 'functionName' failed to satisfy
    constraint: Member must have length greater than or equal to 1; Value null at
    'code' failed to satisfy constraint: Member must not be null

Paths and values look as AWS's framework, which is Java, prints them: `kMSKeyArn`,
`fileSystemConfigs.1.member.arn`, `[GET, PUT]`, `{key=value}`. What is wrong with a
list's or map's plain entries is said once, of the container, with all that an entry
must be. Secret values are not repeated.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import chain, islice
from typing import Any

from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.names import MAX_NAME, bare_name
from sandlot_engine.gateway.aws.service import Kind, Operation, Shape

MAX_ERRORS = 100
"""Of one request; the first ones. A body can hold a million."""

MAX_MATCHED = 4_096
"""Characters of a text that is held against a pattern, where the model has no length:
Python's matcher remembers each step. Those are names of environment variables, all of
which together may have 4 KB."""

MAX_SHOWN = 4_096
"""Characters of a value that are repeated."""


def check(operation: Operation, input: Mapping[str, Any]) -> None:  # noqa: A002 -- AWS's word
    """Raise `AwsError` unless the model allows `input`, which `reading` made.

    Mostly `ValidationException`, with all that is wrong. Two things that AWS's model
    knows nothing of, or knows otherwise, come after it, as AWS words them:
    `InvalidParameterValueException` for a runtime that there is not, and for a name
    that is short enough for an ARN and too long for a function, where one is created:
    to all else that is a function that there is not.
    """
    if operation.input is None:
        return
    found = list(islice(_structure(operation.input, input, ""), MAX_ERRORS))
    if found:
        raise AwsError("ValidationException", _detected(found))
    _check_runtime(operation.input, input)
    if operation.name == "CreateFunction":
        _check_function_name(input)


def _detected(found: list[str]) -> str:
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


# --- what AWS says otherwise --------------------------------------------------


def _check_runtime(shape: Shape, values: Mapping[str, Any]) -> None:
    runtime = values.get(_RUNTIME)
    if runtime is None or not any(_broken(shape.members[_RUNTIME].shape, runtime)):
        return
    if _LABELLED.fullmatch(runtime):
        return  # of this machine's own, if it is there: the catalog knows
    known = ", ".join(shape.members[_RUNTIME].shape.enum)
    raise AwsError(
        "InvalidParameterValueException",
        f"Value {runtime[:MAX_SHOWN]} at 'runtime' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{known}] or be a valid ARN",
    )


def _check_function_name(values: Mapping[str, Any]) -> None:
    name = values.get("FunctionName")
    if isinstance(name, str) and len(bare_name(name)) > MAX_NAME:
        raise AwsError(
            "InvalidParameterValueException",
            _detected([_failed("functionName", f"'{name}'", _longer_than(MAX_NAME))]),
        )


_LABELLED = re.compile(r"(?:python3\.[0-9]{1,2}|nodejs[0-9]{2}\.x)-[a-z0-9_.]{1,32}")
_RUNTIME = "Runtime"
"""Of an operation's input itself; in lists of runtimes the model's rule stands."""


# --- the walk -----------------------------------------------------------------


def _structure(shape: Shape, values: Mapping[str, Any], path: str) -> Iterator[str]:
    for member in shape.members.values():
        here = f"{path}{_camel(member.name)}"
        value = values.get(member.name)
        if value is not None:
            if path or member.name != _RUNTIME:
                yield from _value(member.shape, value, here)
        elif member.name in shape.required:
            yield _failed(here, "null", _NOT_NULL)


def _value(shape: Shape, value: Any, path: str) -> Iterator[str]:
    for constraint in _broken(shape, value):
        yield _failed(path, _shown(shape, value), constraint)
    yield from _inside(shape, value, path)


def _inside(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if shape.kind is Kind.STRUCTURE:
        yield from _structure(shape, value, f"{path}.")
    elif shape.kind in {Kind.LIST, Kind.MAP} and not _is_too_long(shape, value):
        if shape.kind is Kind.LIST:
            yield from _list(shape, value, path)
        else:
            yield from _map(shape, value, path)


def _list(shape: Shape, values: list[Any], path: str) -> Iterator[str]:
    element = _known(shape.element)
    if _is_any_broken(element, values):
        wrong = f"Member must satisfy constraint: {_constraints(element)}"
        yield _failed(path, _shown(shape, values), wrong)
    for number, value in enumerate(values, 1):
        if value is not None:
            yield from _inside(element, value, f"{path}.{number}.member")


def _map(shape: Shape, values: Mapping[str, Any], path: str) -> Iterator[str]:
    key, element = _known(shape.key), _known(shape.element)
    if _is_any_broken(key, values):
        wrong = f"Map keys must satisfy constraint: {_constraints(key)}"
        yield _failed(path, _shown(shape, values), wrong)
    if _is_any_broken(element, values.values()):
        wrong = f"Map value must satisfy constraint: {_constraints(element)}"
        yield _failed(path, _shown(shape, values), wrong)
    for name, value in values.items():
        if value is not None:
            yield from _inside(element, value, f"{path}.{name[:MAX_SHOWN]}.member")


def _is_any_broken(shape: Shape, values: Iterable[Any]) -> bool:
    return any(value is None or any(_broken(shape, value)) for value in values)


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise TypeError("the model has a list or map without an element's shape")
    return shape


# --- single constraints -------------------------------------------------------

_NOT_NULL = "Member must not be null"
_SIZED = {Kind.STRING, Kind.BLOB, Kind.LIST, Kind.MAP}


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """Which of the shape's own constraints `value` breaks, in AWS's order."""
    if shape.enum and value not in shape.enum:
        yield _one_of(shape)
    if _is_too_long(shape, value):
        # No pattern is tried then: its time may grow faster than the text.
        yield _most(shape)
    elif shape.pattern and not _is_like(shape, value):
        yield _like(shape)
    if shape.least is not None and _size(shape, value) < shape.least:
        yield _least(shape)


def _constraints(shape: Shape) -> str:
    """All that an entry must be, as AWS lists it when one is not."""
    every = (
        *([_most(shape)] if shape.most is not None else ()),
        *([_least(shape)] if shape.least is not None else ()),
        *([_like(shape)] if shape.pattern else ()),
        *([_one_of(shape)] if shape.enum else ()),
        _NOT_NULL,
    )
    return f"[{', '.join(every)}]"


def _is_too_long(shape: Shape, value: Any) -> bool:
    return shape.most is not None and _size(shape, value) > shape.most


def _is_like(shape: Shape, text: str) -> bool:
    if shape.most is None and len(text) > MAX_MATCHED:
        return False
    return pattern_of(shape).fullmatch(text) is not None


def _size(shape: Shape, value: Any) -> float:
    size: float = len(value) if shape.kind in _SIZED else value
    return size


def _most(shape: Shape) -> str:
    if shape.kind in _SIZED:
        return _longer_than(_known_number(shape.most))
    return f"Member must have value less than or equal to {shape.most}"


def _least(shape: Shape) -> str:
    what = "length" if shape.kind in _SIZED else "value"
    return f"Member must have {what} greater than or equal to {shape.least}"


def _longer_than(most: float) -> str:
    return f"Member must have length less than or equal to {most}"


def _known_number(number: float | None) -> float:
    return 0 if number is None else number


def _like(shape: Shape) -> str:
    return f"Member must satisfy regular expression pattern: {shape.pattern}"


def _one_of(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


# --- how AWS prints -----------------------------------------------------------


def _failed(path: str, value: str, constraint: str) -> str:
    told = f"Value {value} at" if value else "Value at"
    return f"{told} '{path}' failed to satisfy constraint: {constraint}"


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _shown(shape: Shape, value: Any) -> str:
    """In quotes; empty for what is secret."""
    if _is_secret(shape):
        return ""
    text = _java(value)
    return f"'{text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + '…'}'"


def _is_secret(shape: Shape) -> bool:
    parts = (shape, shape.key, shape.element)
    return any(part.is_sensitive for part in parts if part)


def _java(value: Any) -> str:
    """As Java prints it, of a long collection no more than will be shown."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            pairs = islice(value.items(), MAX_SHOWN)
            return f"{{{', '.join(f'{key}={_java(item)}' for key, item in pairs)}}}"
        case list():
            return f"[{', '.join(map(_java, islice(value, MAX_SHOWN)))}]"
        case None:
            return "null"
        case bytes():
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


# --- patterns -----------------------------------------------------------------


def pattern_of(shape: Shape) -> re.Pattern[str]:
    """The shape's pattern, which is Java's, as Python has it."""
    return _compiled(shape.pattern)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # In Java \d, \s and \w are ASCII's; \p{…} is not, and Python has none.
    return re.compile("".join(_translated(pattern)), re.ASCII)


_TOKEN = re.compile(r"\\p\{(\w+)\}|\\.|.", re.DOTALL)


def _translated(pattern: str) -> Iterator[str]:
    is_in_class = False
    for token in _TOKEN.finditer(pattern):
        if token[1]:
            ranges = _category(token[1])
            yield ranges if is_in_class else f"[{ranges}]"
        else:
            yield token[0]
            is_in_class = token[0] == "[" or (is_in_class and token[0] != "]")


@cache
def _category(name: str) -> str:
    """The inside of a class with all characters whose Unicode category begins so."""
    ranges: list[list[int]] = []
    for code in _assigned():
        if not unicodedata.category(chr(code)).startswith(name):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    if not ranges:
        raise re.error(f"{name} is no category of Unicode")
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _assigned() -> Iterable[int]:
    """The code points of the planes that have characters: a quarter of them all."""
    return chain(range(0x40000), range(0xE0000, min(0xE1000, sys.maxunicode)))
