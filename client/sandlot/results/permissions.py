"""Permissions: who but its owner may invoke a function."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What has to be so of a request for a permission to count."""

    operator: str
    """AWS's name for a comparison: `StringEquals`, `ArnLike`."""

    key: str
    values: tuple[str, ...]
    """One of these has to match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """A statement of the policy of a function, a version or an alias."""

    id: str
    """Empty in some policies that were put as a whole."""

    is_denial: bool
    """Wins over all that allow."""

    actions: tuple[str, ...]
    principals: tuple[str, ...]
    """`*` for everybody, ARNs of accounts, and services of AWS's."""

    conditions: tuple[Condition, ...]
    """All of them have to hold."""
