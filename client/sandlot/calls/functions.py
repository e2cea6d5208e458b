"""Every call that the engine knows, as data: what to send and how to read the answer.

Pure. The two clients carry calls out, one blocking and one not, and so share all
that is in here; `steps` puts calls together into longer errands.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypedDict, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sandlot import parsing
from sandlot.errors import PayloadTooLarge, UsageError
from sandlot.parsing import Page
from sandlot.results import (
    JSON,
    Bill,
    Cors,
    EngineStatus,
    Event,
    EventState,
    Function,
    InitMode,
    Key,
    LogLine,
    Network,
    NewKey,
    Reply,
    Run,
    Runtime,
    Tenant,
    Url,
    UrlAuth,
)
from sandlot.v1 import events_pb2 as evt
from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import invocations_pb2 as inv
from sandlot.v1 import tenants_pb2 as ten
from sandlot.v1 import urls_pb2 as addresses

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

MAX_EVENT = 6_291_456
"""Bytes of an event whose caller waits (AWS: 6 MB)."""

MAX_QUEUED_EVENT = 1_048_576
"""Bytes of an event that is queued (AWS: 1 MB)."""

PAGE_SIZE = 100
"""How many things one page of a list holds."""

READS = frozenset(
    {
        "/sandlot.v1.FunctionService/GetFunction",
        "/sandlot.v1.FunctionService/ListFunctions",
        "/sandlot.v1.InvocationService/ListInvocations",
        "/sandlot.v1.EventService/GetEvent",
        "/sandlot.v1.EventService/ListEvents",
        "/sandlot.v1.TenantService/ListTenants",
        "/sandlot.v1.TenantService/ListKeys",
        "/sandlot.v1.BillingService/GetBill",
        "/sandlot.v1.EngineService/GetStatus",
        "/sandlot.v1.EngineService/ListRuntimes",
        "/sandlot.v1.UrlService/ListUrls",
        "/sandlot.v1.TriggerService/GetTrigger",
        "/sandlot.v1.TriggerService/ListTriggers",
    }
)
"""Methods that change nothing, so that repeating them never does harm."""

EVENT_STATES = {state: number for number, state in parsing.EVENT_STATES.items()}

INVOKE_MANY = "/sandlot.v1.InvocationService/InvokeMany"

INIT_MODES = {
    InitMode.AUTO: fn.INIT_MODE_AUTO,
    InitMode.PER_INSTANCE: fn.INIT_MODE_PER_INSTANCE,
}
NETWORKS = {
    Network.NONE: fn.NETWORK_NONE,
    Network.EGRESS: fn.NETWORK_EGRESS,
    Network.HOST: fn.NETWORK_HOST,
}

URL_AUTHS = {
    UrlAuth.NONE: addresses.URL_AUTH_NONE,
    UrlAuth.IAM: addresses.URL_AUTH_IAM,
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


class FunctionOptions(TypedDict, total=False):
    """The settings of a function. What is left out stays, or is AWS's default."""

    handler: str
    """`module.function`."""

    runtime: str
    """`python3.11`."""

    memory: int
    """MB, 128 to 10240."""

    timeout: int
    """Seconds, 1 to 900."""

    env: Mapping[str, str]
    """Replaces the environment whole."""

    ephemeral_storage: int
    """MB of private /tmp, 512 to 10240."""

    description: str
    init_mode: InitMode | str
    """`auto` or `per-instance`."""

    network: Network | str
    """`none`, `egress` or `host`; at most what the tenant may have."""

    snap_start: bool
    """AWS's SnapStart, of versions that are published."""

    entry_point: Sequence[str]
    """Of an image, in place of its own; empty is its own again."""

    command: Sequence[str]
    """Of an image: what follows the entry point, in place of its own."""

    working_directory: str
    """Of an image, in place of its own."""


FIELDS = {
    "handler": "handler",
    "runtime": "runtime",
    "memory": "memory_mb",
    "timeout": "timeout_s",
    "env": "environment",
    "ephemeral_storage": "ephemeral_storage_mb",
    "description": "description",
    "init_mode": "init_mode",
    "network": "network",
    "snap_start": "snap_start",
    "entry_point": "entry_point",
    "command": "command",
    "working_directory": "working_directory",
}
"""What `FunctionOptions` are called in messages and in `Function`."""

LISTS = frozenset(("entry_point", "command"))
"""Of them, those with several words."""


# --- functions ---------------------------------------------------------------


def create_function(
    name: str, package: bytes, options: FunctionOptions, *, image: str = ""
) -> Call[Function]:
    config = fn.FunctionConfig(**_settings(options))
    return Call(
        method="/sandlot.v1.FunctionService/CreateFunction",
        request=fn.CreateFunctionRequest(
            name=name, config=config, zip=package, image_uri=image
        ),
        response=fn.CreateFunctionResponse,
        parse=_function,
    )


def update_code(name: str, package: bytes, *, image: str = "") -> Call[Function]:
    return Call(
        method="/sandlot.v1.FunctionService/UpdateFunctionCode",
        request=fn.UpdateFunctionCodeRequest(name=name, zip=package, image_uri=image),
        response=fn.UpdateFunctionCodeResponse,
        parse=_function,
    )


def update_configuration(
    name: str, options: FunctionOptions, *, revision_id: str = ""
) -> Call[Function]:
    settings = _settings(options)
    if (variables := settings.get("environment")) is not None:
        settings["environment"] = fn.Environment(variables=variables)
    for one in LISTS & settings.keys():
        settings[one] = fn.Words(words=settings[one])
    return Call(
        method="/sandlot.v1.FunctionService/UpdateFunctionConfiguration",
        request=fn.UpdateFunctionConfigurationRequest(
            name=name, revision_id=revision_id, **settings
        ),
        response=fn.UpdateFunctionConfigurationResponse,
        parse=_function,
    )


def get_function(name: str) -> Call[Function]:
    return Call(
        method="/sandlot.v1.FunctionService/GetFunction",
        request=fn.GetFunctionRequest(name=name),
        response=fn.GetFunctionResponse,
        parse=_function,
    )


def list_functions(token: str) -> Call[Page[Function]]:
    return Call(
        method="/sandlot.v1.FunctionService/ListFunctions",
        request=fn.ListFunctionsRequest(page_size=PAGE_SIZE, page_token=token),
        response=fn.ListFunctionsResponse,
        parse=lambda m: parsing.page(m.functions, parsing.function, m.next_page_token),
    )


def delete_function(name: str) -> Call[None]:
    return Call(
        method="/sandlot.v1.FunctionService/DeleteFunction",
        request=fn.DeleteFunctionRequest(name=name),
        response=fn.DeleteFunctionResponse,
        parse=parsing.nothing,
    )


def _function(message: Any) -> Function:
    return parsing.function(message.function)


def _settings(options: FunctionOptions) -> dict[str, Any]:
    """The options by their names in messages. Raises TypeError for others, and
    `UsageError` for a value that there is not.
    """
    if unknown := options.keys() - FIELDS.keys():
        raise TypeError(f"no such setting of a function: {', '.join(sorted(unknown))}")
    settings = {FIELDS[option]: value for option, value in options.items()}
    if "init_mode" in settings:
        settings["init_mode"] = INIT_MODES[_member(InitMode, settings["init_mode"])]
    if "network" in settings:
        settings["network"] = NETWORKS[_member(Network, settings["network"])]
    for name in LISTS & settings.keys():
        if isinstance(settings[name], str):
            # Its characters would be taken for the words.
            raise UsageError(f"{name} is a list of words: [{settings[name]!r}]")
    return settings


def _member(kind: type[E], value: object) -> E:
    for one in kind:
        if one == value:
            return one
    raise UsageError(f"{value!r} is not one of {', '.join(kind)}")


# --- function URLs -----------------------------------------------------------


def put_url(
    function: str, *, auth: UrlAuth | str, alias: str, cors: Cors | None, stream: bool
) -> Call[Url]:
    return Call(
        method="/sandlot.v1.UrlService/PutUrl",
        request=addresses.PutUrlRequest(
            function=function,
            alias=alias,
            auth=URL_AUTHS[_member(UrlAuth, auth)],
            cors=None if cors is None else _cors(cors),
            streamed=stream,
        ),
        response=addresses.PutUrlResponse,
        parse=lambda message: parsing.url(message.url),
    )


def list_urls(function: str, token: str) -> Call[Page[Url]]:
    return Call(
        method="/sandlot.v1.UrlService/ListUrls",
        request=addresses.ListUrlsRequest(
            function=function, page_size=PAGE_SIZE, page_token=token
        ),
        response=addresses.ListUrlsResponse,
        parse=lambda m: parsing.page(m.urls, parsing.url, m.next_page_token),
    )


def delete_url(function: str, *, alias: str) -> Call[None]:
    return Call(
        method="/sandlot.v1.UrlService/DeleteUrl",
        request=addresses.DeleteUrlRequest(function=function, alias=alias),
        response=addresses.DeleteUrlResponse,
        parse=parsing.nothing,
    )


def _cors(cors: Cors) -> addresses.UrlCors:
    return addresses.UrlCors(
        allow_origins=cors.origins,
        allow_methods=cors.methods,
        allow_headers=cors.headers,
        expose_headers=cors.expose_headers,
        allow_credentials=cors.credentials,
        max_age_s=cors.max_age_s,
    )


# --- invocations -------------------------------------------------------------


def invoke_request(
    function: str,
    value: JSON = None,
    *,
    payload: bytes | None = None,
    invocation_type: inv.InvocationType = inv.INVOCATION_TYPE_REQUEST_RESPONSE,
    tail_log: bool = False,
    qualifier: str = "",
    client_context: JSON = None,
    idempotency_key: str = "",
) -> inv.InvokeRequest:
    """`payload` goes out as it is; else `value` as JSON, and None as no event at all,
    which the engine takes for `{}`. Raises `PayloadTooLarge`.
    """
    if payload is None:
        payload = b"" if value is None else encode(value)
    is_queued = invocation_type == inv.INVOCATION_TYPE_EVENT
    check_event_size(payload, is_queued=is_queued)
    return inv.InvokeRequest(
        function=function,
        qualifier=qualifier,
        payload=payload,
        invocation_type=invocation_type,
        tail_log=tail_log,
        client_context="" if client_context is None else json.dumps(client_context),
        idempotency_key=idempotency_key,
    )


def check_event_size(payload: bytes, *, is_queued: bool = False) -> None:
    """Raise `PayloadTooLarge` for what the engine would refuse, before it is sent."""
    limit = MAX_QUEUED_EVENT if is_queued else MAX_EVENT
    if len(payload) > limit:
        kind = "an event that is queued" if is_queued else "an event"
        raise PayloadTooLarge(
            f"the event has {len(payload):,} bytes of {limit:,} that {kind} may have. "
            "Put the data where the function can read it, and send where that is.",
            facts={"limit": str(limit)},
        )


def encode(value: JSON) -> bytes:
    try:
        return json.dumps(
            value, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except ValueError as error:
        # NaN and Infinity, which JSON has not though Python writes them; cycles; and
        # what is no Unicode.
        raise UsageError(f"the event cannot be JSON: {error}") from error


def invoke(request: inv.InvokeRequest) -> Call[Reply]:
    return Call(
        method="/sandlot.v1.InvocationService/Invoke",
        request=request,
        response=inv.InvokeResponse,
        parse=parsing.reply,
    )


def invoke_stream(request: inv.InvokeRequest) -> Call[bytes | Reply]:
    """Pieces of an answer, then how it ended."""
    return Call(
        method="/sandlot.v1.InvocationService/InvokeStream",
        request=inv.InvokeStreamRequest(request=request),
        response=inv.InvokeStreamResponse,
        parse=parsing.piece,
    )


def tail_logs(
    function: str, *, since: datetime | None, follow: bool
) -> Call[tuple[LogLine, ...]]:
    return Call(
        method="/sandlot.v1.InvocationService/TailLogs",
        request=inv.TailLogsRequest(
            function=function, since=_timestamp(since), follow=follow
        ),
        response=inv.TailLogsResponse,
        parse=parsing.log_lines,
    )


def list_invocations(function: str, token: str) -> Call[Page[Run]]:
    return Call(
        method="/sandlot.v1.InvocationService/ListInvocations",
        request=inv.ListInvocationsRequest(
            function=function, page_size=PAGE_SIZE, page_token=token
        ),
        response=inv.ListInvocationsResponse,
        parse=lambda m: parsing.page(m.invocations, parsing.run, m.next_page_token),
    )


# --- events ------------------------------------------------------------------


def get_event(request_id: str, *, wait_s: float = 0.0) -> Call[Event]:
    wait = Duration()
    wait.FromNanoseconds(round(wait_s * 1e9))
    return Call(
        method="/sandlot.v1.EventService/GetEvent",
        request=evt.GetEventRequest(request_id=request_id, wait=wait),
        response=evt.GetEventResponse,
        parse=lambda message: parsing.event(message.event),
    )


def get_event_payload(request_id: str) -> Call[bytes]:
    return Call(
        method="/sandlot.v1.EventService/GetEvent",
        request=evt.GetEventRequest(request_id=request_id, payload=True),
        response=evt.GetEventResponse,
        parse=lambda message: bytes(message.payload),
    )


def list_events(
    function: str, states: Sequence[EventState | str], token: str
) -> Call[Page[Event]]:
    wanted: list[EventState] = [_member(EventState, state) for state in states]
    return Call(
        method="/sandlot.v1.EventService/ListEvents",
        request=evt.ListEventsRequest(
            function=function,
            states=[EVENT_STATES[state] for state in wanted],  # type: ignore[misc]
            page_size=PAGE_SIZE,
            page_token=token,
        ),
        response=evt.ListEventsResponse,
        parse=lambda m: parsing.page(m.events, parsing.event, m.next_page_token),
    )


def redrive_events(*, request_id: str, function: str) -> Call[tuple[int, bool]]:
    return Call(
        method="/sandlot.v1.EventService/RedriveEvents",
        request=evt.RedriveEventsRequest(request_id=request_id, function=function),
        response=evt.RedriveEventsResponse,
        parse=lambda message: (message.count, message.more),
    )


def purge_events(*, request_id: str, function: str) -> Call[tuple[int, bool]]:
    return Call(
        method="/sandlot.v1.EventService/PurgeEvents",
        request=evt.PurgeEventsRequest(request_id=request_id, function=function),
        response=evt.PurgeEventsResponse,
        parse=lambda message: (message.count, message.more),
    )


# --- tenants, bills, the engine ----------------------------------------------


def create_tenant(
    name: str,
    *,
    id: str,  # noqa: A002  # the message's word
    concurrency: int,
    network: Network | str,
    network_allow: Sequence[str],
) -> Call[NewKey]:
    return Call(
        method="/sandlot.v1.TenantService/CreateTenant",
        request=ten.CreateTenantRequest(
            name=name,
            id=id,
            concurrency=concurrency,
            network=NETWORKS[_member(Network, network)],
            network_allow=network_allow,
        ),
        response=ten.CreateTenantResponse,
        parse=parsing.new_tenant,
    )


def update_tenant(
    id: str,  # noqa: A002  # the message's word
    *,
    name: str | None,
    concurrency: int | None,
    network: Network | str | None,
    network_allow: Sequence[str] | None,
) -> Call[Tenant]:
    return Call(
        method="/sandlot.v1.TenantService/UpdateTenant",
        request=ten.UpdateTenantRequest(
            id=id,
            name=name,
            concurrency=concurrency,
            network=None if network is None else NETWORKS[_member(Network, network)],
            network_allow=None
            if network_allow is None
            else ten.Cidrs(cidrs=network_allow),
        ),
        response=ten.UpdateTenantResponse,
        parse=lambda message: parsing.tenant(message.tenant),
    )


def list_tenants(token: str) -> Call[Page[Tenant]]:
    return Call(
        method="/sandlot.v1.TenantService/ListTenants",
        request=ten.ListTenantsRequest(page_size=PAGE_SIZE, page_token=token),
        response=ten.ListTenantsResponse,
        parse=lambda m: parsing.page(m.tenants, parsing.tenant, m.next_page_token),
    )


def delete_tenant(id: str) -> Call[None]:  # noqa: A002  # the message's word
    return Call(
        method="/sandlot.v1.TenantService/DeleteTenant",
        request=ten.DeleteTenantRequest(id=id),
        response=ten.DeleteTenantResponse,
        parse=parsing.nothing,
    )


def create_key(tenant_id: str) -> Call[NewKey]:
    return Call(
        method="/sandlot.v1.TenantService/CreateKey",
        request=ten.CreateKeyRequest(tenant_id=tenant_id),
        response=ten.CreateKeyResponse,
        parse=parsing.new_key,
    )


def import_key(access_key_id: str, secret: str, *, tenant_id: str) -> Call[Key]:
    return Call(
        method="/sandlot.v1.TenantService/ImportKey",
        request=ten.ImportKeyRequest(
            tenant_id=tenant_id, access_key_id=access_key_id, secret_access_key=secret
        ),
        response=ten.ImportKeyResponse,
        parse=lambda message: parsing.key(message.key),
    )


def list_keys(tenant_id: str, token: str) -> Call[Page[Key]]:
    return Call(
        method="/sandlot.v1.TenantService/ListKeys",
        request=ten.ListKeysRequest(
            tenant_id=tenant_id, page_size=PAGE_SIZE, page_token=token
        ),
        response=ten.ListKeysResponse,
        parse=lambda m: parsing.page(m.keys, parsing.key, m.next_page_token),
    )


def revoke_key(access_key_id: str) -> Call[None]:
    return Call(
        method="/sandlot.v1.TenantService/RevokeKey",
        request=ten.RevokeKeyRequest(access_key_id=access_key_id),
        response=ten.RevokeKeyResponse,
        parse=parsing.nothing,
    )


def get_bill(
    tenant_id: str, *, since: datetime | None, until: datetime | None
) -> Call[Bill]:
    return Call(
        method="/sandlot.v1.BillingService/GetBill",
        request=ten.GetBillRequest(
            tenant_id=tenant_id, since=_timestamp(since), until=_timestamp(until)
        ),
        response=ten.GetBillResponse,
        parse=parsing.bill,
    )


def get_status() -> Call[EngineStatus]:
    return Call(
        method="/sandlot.v1.EngineService/GetStatus",
        request=ten.GetStatusRequest(),
        response=ten.GetStatusResponse,
        parse=parsing.status,
    )


def list_runtimes() -> Call[tuple[Runtime, ...]]:
    return Call(
        method="/sandlot.v1.EngineService/ListRuntimes",
        request=ten.ListRuntimesRequest(),
        response=ten.ListRuntimesResponse,
        parse=parsing.runtimes,
    )


def _timestamp(when: datetime | None) -> Timestamp | None:
    if when is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(when.astimezone(UTC))
    return stamp
