"""Concurrency: what there is, what is reserved, and what is started ahead."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many invocations of a tenant may run at once."""

    limit: int
    """Of all its functions."""

    unreserved: int
    """Of these, what functions have together for which nothing is reserved."""

    reserved: dict[str, int]
    """By function: of the one that was asked for, or of all."""

    provisioned: dict[str, int]
    """By function as well: instances that were asked for ahead, in all."""


class ProvisionStatus(StrEnum):
    """What became of instances that were asked for, in AWS's words."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"
    """Not all could be started. It is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConcurrency:
    """Instances of a version, or of what an alias leads to, that are started ahead."""

    function: str
    qualifier: str
    """The version or alias."""

    requested: int
    allocated: int
    """How many there were when it was last tried."""

    available: int
    """How many there are now: fewer, while one that has died is replaced."""

    status: ProvisionStatus
    reason: str
    """Why it has failed."""

    last_modified: datetime
    """When it was last asked for."""
