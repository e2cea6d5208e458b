"""Which messages a mapping's patterns choose: EventBridge's syntax, pure.

What a pattern may have is `catalog/event_patterns.py`'s to say, and all that it lets in
is matched here. Both sides of a comparison are strangers', so the work is bounded: a
message that takes too much of it is chosen, for one that is not chosen is deleted.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html
"""

import ipaddress
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MAX_COMPARISONS = 100_000
"""For one message, with all patterns together: some 50 ms."""

_OR = "$or"


class Filters:
    """A mapping's patterns. One that is no JSON is a `ValueError`."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [_load(pattern) for pattern in patterns]

    def choose(self, record: Mapping[str, Any]) -> bool:
        """Whether the function is to get the record; without patterns, any."""
        if not self._patterns:
            return True
        event = {**record, "body": _Body(record.get("body", ""))}
        match = _Match()
        try:
            return any(match.has(pattern, event) for pattern in self._patterns)
        except (_TooMuch, RecursionError):
            return True


class _TooMuch(Exception):
    pass


class _Number(float):
    """Numbers are the same where they are written the same, as AWS has it."""

    text: str

    def __new__(cls, text: str) -> "_Number":
        number = super().__new__(cls, text)
        number.text = text
        return number


def _load(text: str) -> Any:
    return json.loads(text, parse_int=_Number, parse_float=_Number)


class _Missing:
    pass


_MISSING = _Missing()


class _Body:
    """A message's text: what it holds, for patterns that look into it; a text for those
    that do not, unless it holds something."""

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            loaded = _load(text)
        except (ValueError, RecursionError):
            loaded = None
        self._loaded = loaded if isinstance(loaded, dict | list) else None

    def seen_by(self, pattern: object) -> object:
        if isinstance(pattern, dict):
            return _MISSING if self._loaded is None else self._loaded
        return self._text if self._loaded is None else _MISSING


class _Match:
    """One message held against patterns."""

    def __init__(self) -> None:
        self._left = MAX_COMPARISONS

    def has(self, pattern: Mapping[str, Any], event: object) -> bool:
        return all(self._field(name, inner, event) for name, inner in pattern.items())

    def _field(self, name: str, inner: Any, event: object) -> bool:
        self._count()
        if name == _OR and isinstance(inner, list):
            return any(self.has(each, event) for each in inner)
        value = event.get(name, _MISSING) if isinstance(event, dict) else _MISSING
        if isinstance(value, _Body):
            value = value.seen_by(inner)
            if value is _MISSING:
                return False  # a text for a pattern of JSON, or the other way round
        if not isinstance(inner, dict):
            return self._leaves(inner, value)
        if isinstance(value, list) and value:
            return any(self.has(inner, each) for each in value)
        return self.has(inner, value)

    def _leaves(self, pattern: Sequence[Any], value: object) -> bool:
        return any(
            self._leaf(leaf, each) for leaf in pattern for each in self._values(value)
        )

    def _values(self, value: object) -> Iterator[object]:
        """Of a list any one is enough. A list of nothing is there, and is nothing."""
        if not isinstance(value, list):
            yield value
            return
        for each in value:
            self._count()  # also of a list of nothing
            yield from self._values(each)

    def _leaf(self, leaf: Any, value: object) -> bool:
        self._count(_cost_of(leaf))
        if not isinstance(leaf, dict):
            return _is_same(leaf, value)
        ((name, operand),) = leaf.items()
        return _OPERATORS[name](operand, value)

    def _count(self, comparisons: int = 1) -> None:
        self._left -= comparisons
        if self._left < 0:
            raise _TooMuch


def _cost_of(leaf: Any) -> int:
    """In comparisons of one value with another."""
    if not isinstance(leaf, dict):
        return 1
    ((name, operand),) = leaf.items()
    if name == "anything-but" and isinstance(operand, dict):
        ((name, operand),) = operand.items()
    compared = len(operand) if isinstance(operand, list) else 1
    return compared * (_COST_OF_CIDR if name == "cidr" else 1)


_COST_OF_CIDR = 20
"""Both sides are parsed."""


def _is_same(wanted: object, value: object) -> bool:
    if isinstance(wanted, _Number):
        return isinstance(value, _Number) and wanted.text == value.text
    return type(wanted) is type(value) and wanted == value


def _exists(is_wanted: object, value: object) -> bool:
    # Of leaves alone, as there: an object is no value.
    is_there = value is not _MISSING and not isinstance(value, dict)
    return is_there is is_wanted and (is_there or value is _MISSING)


def _of_text(test: Callable[[str, str], bool]) -> Callable[[Any, object], bool]:
    """An operator for texts."""

    def matches(operand: Any, value: object) -> bool:
        return isinstance(value, str) and test(value, operand)

    return matches


def _begins(value: str, wanted: str | dict[str, str]) -> bool:
    if isinstance(wanted, str):
        return value.startswith(wanted)
    (folded,) = map(str.casefold, wanted.values())
    # A character becomes one or more: no more of them can count, and the text may be
    # long.
    return value[: len(folded)].casefold().startswith(folded)


def _ends(value: str, wanted: str | dict[str, str]) -> bool:
    if isinstance(wanted, str):
        return value.endswith(wanted)
    (folded,) = map(str.casefold, wanted.values())
    return value[max(0, len(value) - len(folded)) :].casefold().endswith(folded)


def _is_same_text(value: str, wanted: str) -> bool:
    folded = wanted.casefold()
    return len(value) <= len(folded) and value.casefold() == folded


def _anything_but(operand: Any, value: object) -> bool:
    if value is _MISSING or isinstance(value, dict):
        return False
    if isinstance(operand, dict):
        ((name, inner),) = operand.items()
        excluded = inner if isinstance(inner, list) else [inner]
        return not any(_OPERATORS[name](each, value) for each in excluded)
    excluded = operand if isinstance(operand, list) else [operand]
    return not any(_is_same(each, value) for each in excluded)


def _numeric(operand: Sequence[Any], value: object) -> bool:
    if not isinstance(value, _Number):
        return False
    return all(
        _COMPARISONS[comparison](value, number)
        for comparison, number in zip(operand[::2], operand[1::2], strict=True)
    )


def _is_like(value: str, pattern: str) -> bool:
    """`*` stands for anything, `\\*` for itself. Not by a regular expression, which may
    take for ever: the first place where a piece is found leaves most for the others."""
    first, *rest = _pieces(pattern)
    if not rest:
        return value == first
    *middle, last = rest
    if not value.startswith(first) or len(value) < len(first) + len(last):
        return False
    at, end = len(first), len(value) - len(last)
    if not value.endswith(last):
        return False
    for piece in middle:
        at = value.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _pieces(pattern: str) -> list[str]:
    pieces, escaped = [""], False
    for character in pattern:
        if character == "\\" and not escaped:
            escaped = True
        elif character == "*" and not escaped:
            pieces.append("")
        else:
            pieces[-1] += character
            escaped = False
    return pieces


def _is_in_network(value: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(
            network, strict=False
        )
    except ValueError:
        return False


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS: Mapping[str, Callable[[Any, object], bool]] = {
    "prefix": _of_text(_begins),
    "suffix": _of_text(_ends),
    "equals-ignore-case": _of_text(_is_same_text),
    "wildcard": _of_text(_is_like),
    "cidr": _of_text(_is_in_network),
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}
