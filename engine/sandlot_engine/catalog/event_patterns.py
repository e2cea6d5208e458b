"""Whether a text is a pattern for events, by EventBridge's syntax. Pure."""

import json
from collections.abc import Callable, Mapping

MAX_PATTERN = 4_096
MAX_DEPTH = 20
"""Of objects within objects; no event that one filters by hand is deeper."""

_OR = "$or"
_COMPARISONS = frozenset({"=", "<", "<=", ">", ">="})


def is_pattern(text: str) -> bool:
    """An object whose leaves are lists of values and comparisons."""
    if len(text) > MAX_PATTERN:
        return False
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return _is_object(loaded, MAX_DEPTH)


def _is_object(given: object, depth: int) -> bool:
    return (
        isinstance(given, dict)
        and bool(given)
        and depth > 0
        and all(_is_field(name, inner, depth - 1) for name, inner in given.items())
    )


def _is_field(name: str, given: object, depth: int) -> bool:
    if name == _OR and isinstance(given, list):
        return len(given) > 1 and all(_is_object(each, depth) for each in given)
    if isinstance(given, list):
        return bool(given) and all(map(_is_leaf, given))
    return _is_object(given, depth)


def _is_leaf(given: object) -> bool:
    if not isinstance(given, dict):
        return _is_value(given)
    if len(given) != 1:
        return False
    ((operator, operand),) = given.items()
    is_operand = _OPERATORS.get(operator)
    return is_operand is not None and is_operand(operand)


def _is_value(given: object) -> bool:
    return given is None or isinstance(given, str | int | float)


def _is_text(given: object) -> bool:
    return isinstance(given, str)


def _is_affix(given: object) -> bool:
    if isinstance(given, dict):
        return list(given) == ["equals-ignore-case"] and all(
            map(_is_text, given.values())
        )
    return _is_text(given)


def _is_exclusion(given: object) -> bool:
    if isinstance(given, dict):
        return len(given) == 1 and all(
            name in ("prefix", "suffix", "equals-ignore-case", "wildcard")
            and (_is_text(operand) or _is_list(operand, _is_text))
            for name, operand in given.items()
        )
    return _is_value(given) or _is_list(given, _is_value)


def _is_list(given: object, is_item: Callable[[object], bool]) -> bool:
    return isinstance(given, list) and bool(given) and all(map(is_item, given))


def _is_range(given: object) -> bool:
    if not isinstance(given, list) or len(given) not in (2, 4):
        return False
    return all(
        comparison in _COMPARISONS
        and isinstance(number, int | float)
        and not isinstance(number, bool)
        for comparison, number in zip(map(str, given[::2]), given[1::2], strict=True)
    )


_OPERATORS: Mapping[str, Callable[[object], bool]] = {
    "prefix": _is_affix,
    "suffix": _is_affix,
    "equals-ignore-case": _is_text,
    "wildcard": _is_text,
    "cidr": _is_text,
    "anything-but": _is_exclusion,
    "numeric": _is_range,
    "exists": lambda given: isinstance(given, bool),
}
