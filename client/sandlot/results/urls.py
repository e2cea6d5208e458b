"""Function URLs."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class UrlAuth(StrEnum):
    """Who may call a function URL."""

    IAM = "iam"
    """Whoever signs, as AWS's tools do, with a key that may."""

    NONE = "none"
    """Anybody who can reach the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What browsers are told of other sites' scripts; `*` is any."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """Those that requests may have."""

    expose_headers: tuple[str, ...] = ()
    """Those of answers that scripts may see."""

    credentials: bool = False
    max_age_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """An address at which HTTP requests are invocations."""

    function: str
    alias: str
    """Empty for `$LATEST`."""

    url: str
    auth: UrlAuth
    stream: bool
    """Whether answers are passed on while they are made."""

    cors: Cors | None
    created: datetime
