"""Resource policies: who but its owner may do what with a function."""

from dataclasses import dataclass
from enum import StrEnum

EVERYONE = "*"


class Effect(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"
    """Wins over every `ALLOW`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that has to be so for a statement to count."""

    operator: str
    """AWS's name for a comparison: `StringEquals`, `ArnLike` and so on."""

    key: str
    """What of a request is compared, as it was written: `AWS:SourceArn`."""

    values: tuple[str, ...]
    """One of these has to match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """About the one function, version or alias that its policy belongs to."""

    sid: str = ""
    """Names it in its policy; those of whole documents may have none."""

    effect: Effect = Effect.ALLOW
    accounts: tuple[str, ...] = ()
    """`EVERYONE`, or ARNs such as `arn:aws:iam::123456789012:root`."""

    services: tuple[str, ...] = ()
    """AWS's: `s3.amazonaws.com`."""

    actions: tuple[str, ...]
    """`lambda:InvokeFunction`, or a pattern with `*`."""

    conditions: tuple[Condition, ...] = ()
    """All of them have to hold."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Policy:
    """The resource policy of a function, a version or an alias. It has no revision id
    of its own: it shares its function's or alias's."""

    statements: tuple[Statement, ...] = ()
    id: str = "default"
    version: str = "2012-10-17"
    """Of the policy language."""
