"""What is set of a function beside its code and configuration: no version has it."""

from dataclasses import dataclass, field
from enum import StrEnum


class RecursiveLoop(StrEnum):
    """What happens to a function that calls itself in circles."""

    ALLOW = "Allow"
    TERMINATE = "Terminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """A change of these makes no revision, and holds at once for all versions."""

    tags: dict[str, str] = field(default_factory=dict)
    """At most 50."""

    reserved_concurrency: int | None = None
    """How many invocations of all its versions may run at once, and surely can: others
    of its tenant leave it that many. 0 switches it off; None is a share in the rest."""

    recursive_loop: RecursiveLoop = RecursiveLoop.TERMINATE
    """Kept and shown: nothing here looks for loops."""
