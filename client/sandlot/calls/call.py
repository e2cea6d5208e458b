"""What a call is, and what calls about several things have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sandlot.errors import UsageError
from sandlot.results import Network
from sandlot.v1 import functions_pb2 as fn

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

PAGE_SIZE = 100
"""How many things one page of a list holds."""

READS = frozenset(
    {
        "/sandlot.v1.FunctionService/GetFunction",
        "/sandlot.v1.FunctionService/ListFunctions",
        "/sandlot.v1.InvocationService/ListInvocations",
        "/sandlot.v1.EventService/GetEvent",
        "/sandlot.v1.EventService/ListEvents",
        "/sandlot.v1.EventService/GetEventSettings",
        "/sandlot.v1.TenantService/ListTenants",
        "/sandlot.v1.TenantService/ListKeys",
        "/sandlot.v1.BillingService/GetBill",
        "/sandlot.v1.EngineService/GetStatus",
        "/sandlot.v1.EngineService/ListRuntimes",
        "/sandlot.v1.LayerService/ListLayers",
        "/sandlot.v1.LayerService/ListLayerVersions",
        "/sandlot.v1.UrlService/ListUrls",
        "/sandlot.v1.PermissionService/ListPermissions",
        "/sandlot.v1.VersionService/ListVersions",
        "/sandlot.v1.VersionService/ListAliases",
        "/sandlot.v1.ConcurrencyService/GetConcurrency",
        "/sandlot.v1.ConcurrencyService/GetProvisionedConcurrency",
        "/sandlot.v1.ConcurrencyService/ListProvisionedConcurrency",
        "/sandlot.v1.TriggerService/GetTrigger",
        "/sandlot.v1.TriggerService/ListTriggers",
    }
)
"""Methods that change nothing, so that repeating them never does harm."""

NETWORKS = {
    Network.NONE: fn.NETWORK_NONE,
    Network.EGRESS: fn.NETWORK_EGRESS,
    Network.HOST: fn.NETWORK_HOST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call: `method` with `request`; `parse` makes a result of the answer.

    For a call whose answer is a stream, `parse` is applied to each message.
    """

    method: str
    request: Message
    response: type[Message]
    parse: Callable[[Any], T]

    @property
    def is_read(self) -> bool:
        return self.method in READS

    @property
    def has_key(self) -> bool:
        """Whether the engine does it once, however often it is sent."""
        return bool(getattr(self.request, "idempotency_key", ""))


def member(kind: type[E], value: object) -> E:
    """One of an enum, also by its value. Raises `UsageError` where there is none."""
    for one in kind:
        if one == value:
            return one
    raise UsageError(f"{value!r} is not one of {', '.join(kind)}")


def qualified(name: str, qualifier: str) -> tuple[str, str]:
    """A function's name and its qualifier, which the name may bring along, as
    `hello:live`. Raises `UsageError` for two of them, and for an ARN."""
    if name.startswith("arn:"):
        # It says whose function it is, too, which the call would not heed.
        raise UsageError(
            f"give the function's name, not its ARN {name!r}; whose it is, the client "
            "says: tenant=ID"
        )
    name, _, own = name.partition(":")
    if own and qualifier and own != qualifier:
        raise UsageError(f"'{name}:{own}' is not {name}:{qualifier}: say one of them")
    return name, own or qualifier


def timestamp(when: datetime | None) -> Timestamp | None:
    """As messages have it; None stays None."""
    if when is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(when.astimezone(UTC))
    return stamp
