"""Function URLs: an address at which HTTP requests are invocations."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class UrlAuthType(StrEnum):
    """How callers say who they are. The policy is asked either way."""

    NONE = "NONE"
    AWS_IAM = "AWS_IAM"
    """Requests are signed."""


class InvokeMode(StrEnum):
    BUFFERED = "BUFFERED"
    RESPONSE_STREAM = "RESPONSE_STREAM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What browsers are told. None was not said, and is not shown."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age_s: int | None = None
    """How long a browser may keep it: 0 to 86400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl:
    """The URL of a function or of an alias; there is one of each at most."""

    id: str
    """The host name's first label: 32 characters, not given again once it is gone."""

    tenant_id: str
    function: str
    qualifier: str
    """An alias, or empty. The URL outlives its alias, and leads nowhere then."""

    auth_type: UrlAuthType
    cors: Cors | None = None
    invoke_mode: InvokeMode = InvokeMode.BUFFERED
    created: datetime
    """UTC, and so below."""

    last_modified: datetime

    @property
    def active_cors(self) -> Cors | None:
        """None where nothing is set: what was taken back is an empty `Cors`."""
        return None if self.cors == Cors() else self.cors
