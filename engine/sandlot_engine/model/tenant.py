"""Tenants and their keys."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

from sandlot_engine.model.network import Network

DEFAULT_TENANT_ID = "000000000001"
"""The tenant that an engine makes at its first start, for its operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An owner of functions: an account in AWS's words."""

    id: str
    """Twelve digits."""

    name: str
    concurrency: int
    """How many invocations may run at once, over all functions."""

    network: Network = Network.NONE
    """The most that its functions may have. `HOST` is for tenants one trusts."""

    network_allow: tuple[str, ...] = ()
    """Networks in CIDR notation, canonical and sorted: what functions with `EGRESS`
    may reach although it is private, link-local or otherwise not public."""

    is_suspended: bool = False
    """Its keys are refused, and nothing of it runs."""

    created: datetime
    """UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair. The secret is only ever in memory and, sealed, in the store."""

    id: str
    tenant_id: str
    is_operator: bool
    created: datetime
    """UTC."""

    is_suspended: bool = False
    """Its tenant is, just now; the store does not know."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who is calling, after the key was checked."""

    tenant_id: str
    """Whose resources the call is about: the operator may choose any tenant's."""

    access_key_id: str
    is_operator: bool
