"""Provisioned concurrency: instances that are started before anybody calls."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ProvisionStatus(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"
    """Not as many as were asked for. It is tried again from time to time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConfig:
    """What was asked for, of a published version or an alias."""

    tenant_id: str
    function: str
    qualifier: str
    requested: int
    """Instances, 1 or more."""

    last_modified: datetime
    """UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What was asked for, and what became of it."""

    config: ProvisionedConfig
    allocated: int = 0
    """Instances that there were when it was last tried; all of them initialised."""

    available: int = 0
    """Instances that there are now. Fewer, while one that has died is replaced."""

    status: ProvisionStatus = ProvisionStatus.IN_PROGRESS
    reason: str = ""
    """Why it has failed."""
