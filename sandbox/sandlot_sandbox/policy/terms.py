"""What the tables are written in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that stand or fall together, and the reason."""

    reason: str
    calls: tuple[str, ...]


def group(reason: str, calls: str) -> Group:
    return Group(reason, tuple(calls.split()))


@dataclass(frozen=True, slots=True)
class Argument:
    """A condition on argument number `index`: `argument & mask == value`. Of 32 bits,
    as the kernel reads an `int`; of all 64, where a pointer is to be none."""

    index: int
    value: int
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is allowed if every condition of any alternative holds."""

    call: str
    reason: str
    alternatives: tuple[tuple[Argument, ...], ...]


def only(call: str, index: int, values: tuple[int, ...], reason: str) -> Rule:
    """A call that is allowed for a few values of one argument."""
    alternatives = tuple((Argument(index, value),) for value in values)
    return Rule(call, reason, alternatives)


def always(call: str, reason: str) -> Rule:
    """A call whatever its arguments are, where a rule is needed."""
    return Rule(call, reason, ((),))


@dataclass(frozen=True, slots=True)
class Policy:
    """What a filter is built from. `default` is an errno or `allow`; what is
    `pretended` succeeds, and does nothing; what is `unsuited` is answered EINVAL."""

    name: str
    default: str
    allowed: tuple[Group, ...] = ()
    rules: tuple[Rule, ...] = ()
    refused: tuple[Group, ...] = ()
    pretended: tuple[Rule, ...] = ()
    unsuited: tuple[Group, ...] = ()
