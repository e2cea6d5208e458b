"""How the asynchronous invocations of a function are treated."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """ARNs of where a record of each invocation goes; empty where none does."""

    on_success: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventConfig:
    """How the events of a version, an alias or `$LATEST` are treated; none inherits
    another's."""

    tenant_id: str
    function: str
    qualifier: str
    """`$LATEST` where nothing is said."""

    max_retries: int | None = None
    """After errors of the function: 0 to 2. None: as if it was 2."""

    max_age_s: int | None = None
    """How long an event may wait: 60 to 21600. None: as if it was 21600."""

    destinations: Destinations = field(default_factory=Destinations)
    last_modified: datetime
    """UTC."""
