"""From messages to results. Pure; the counterpart of `calls`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Literal, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sandlot.results import (
    Alias,
    Bill,
    BillLine,
    Condition,
    Cors,
    EngineStatus,
    Event,
    EventAttempt,
    EventSettings,
    EventState,
    Function,
    FunctionState,
    InitMode,
    IsolationLayer,
    Key,
    LayerVersion,
    LogLine,
    LogSource,
    Network,
    NewKey,
    Permission,
    Reply,
    Report,
    Run,
    Runtime,
    Status,
    Tenant,
    UpdateStatus,
    Url,
    UrlAuth,
)
from sandlot.v1 import (
    events_pb2,
    functions_pb2,
    invocations_pb2,
    layers_pb2,
    permissions_pb2,
    tenants_pb2,
    urls_pb2,
    versions_pb2,
)

T = TypeVar("T")
M = TypeVar("M")

STATES = {
    functions_pb2.FUNCTION_STATE_ACTIVE: FunctionState.ACTIVE,
    functions_pb2.FUNCTION_STATE_FAILED: FunctionState.FAILED,
    functions_pb2.FUNCTION_STATE_INACTIVE: FunctionState.INACTIVE,
}
NETWORKS: dict[int, Network] = {
    functions_pb2.NETWORK_UNSPECIFIED: Network.NONE,
    functions_pb2.NETWORK_NONE: Network.NONE,
    functions_pb2.NETWORK_EGRESS: Network.EGRESS,
}
UPDATES = {
    functions_pb2.UPDATE_STATUS_IN_PROGRESS: UpdateStatus.IN_PROGRESS,
    functions_pb2.UPDATE_STATUS_SUCCESSFUL: UpdateStatus.SUCCESSFUL,
    functions_pb2.UPDATE_STATUS_FAILED: UpdateStatus.FAILED,
}
EVENT_STATES: dict[int, EventState] = {
    events_pb2.EVENT_STATE_QUEUED: EventState.QUEUED,
    events_pb2.EVENT_STATE_RUNNING: EventState.RUNNING,
    events_pb2.EVENT_STATE_DELIVERING: EventState.DELIVERING,
    events_pb2.EVENT_STATE_SUCCEEDED: EventState.SUCCEEDED,
    events_pb2.EVENT_STATE_FAILED: EventState.FAILED,
    events_pb2.EVENT_STATE_DEAD: EventState.DEAD,
}
STATUSES = {
    invocations_pb2.INVOCATION_STATUS_OK: Status.OK,
    invocations_pb2.INVOCATION_STATUS_ERROR: Status.ERROR,
    invocations_pb2.INVOCATION_STATUS_TIMEOUT: Status.TIMEOUT,
    invocations_pb2.INVOCATION_STATUS_CRASHED: Status.CRASHED,
    invocations_pb2.INVOCATION_STATUS_INIT_FAILED: Status.INIT_FAILED,
    invocations_pb2.INVOCATION_STATUS_CANCELLED: Status.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some results, and the token of the next page; empty on the last."""

    items: tuple[T, ...]
    next_token: str


def page(items: Iterable[M], parse: Callable[[M], T], next_token: str) -> Page[T]:
    return Page(tuple(map(parse, items)), next_token)


def function(message: functions_pb2.Function) -> Function:
    config = message.config
    per_instance = config.init_mode == functions_pb2.INIT_MODE_PER_INSTANCE
    return Function(
        name=message.name,
        arn=message.arn,
        version=message.version,
        handler=config.handler,
        runtime=config.runtime,
        memory_mb=config.memory_mb,
        timeout_s=config.timeout_s,
        environment=dict(config.environment),
        ephemeral_storage_mb=config.ephemeral_storage_mb,
        description=config.description,
        init_mode=InitMode.PER_INSTANCE if per_instance else InitMode.AUTO,
        network=_network(config.network),
        snap_start=config.snap_start,
        entry_point=tuple(config.entry_point),
        command=tuple(config.command),
        working_directory=config.working_directory,
        layers=tuple(config.layers),
        tags=dict(message.tags),
        code_size=message.code_size,
        code_sha256=message.code_sha256,
        # A state that this client does not know is not a reason to invoke.
        state=STATES.get(message.state, FunctionState.PENDING),
        state_reason=message.state_reason,
        update_status=UPDATES.get(message.update_status, UpdateStatus.NONE),
        update_reason=message.update_reason,
        fork_safe=message.fork_safe,
        fork_safety_reason=message.fork_safety_reason,
        last_modified=time_of(message.last_modified),
        revision_id=message.revision_id,
        instances=message.instances,
        standbys=message.standbys,
        image=message.image_uri,
    )


def alias(message: versions_pb2.Alias) -> Alias:
    return Alias(
        function=message.function,
        name=message.name,
        arn=message.arn,
        version=message.version,
        weights=dict(message.weights),
        description=message.description,
        revision_id=message.revision_id,
    )


def layer_version(message: layers_pb2.LayerVersion) -> LayerVersion:
    return LayerVersion(
        name=message.name,
        version=message.version,
        arn=message.arn,
        description=message.description,
        compatible_runtimes=tuple(message.compatible_runtimes),
        code_size=message.code_size,
        code_sha256=message.code_sha256,
        created=time_of(message.created),
    )


def event(message: events_pb2.Event) -> Event:
    return Event(
        request_id=message.request_id,
        function=message.function,
        qualifier=message.qualifier,
        state=EVENT_STATES.get(message.state, EventState.UNKNOWN),
        size=message.size,
        accepted=time_of(message.accepted),
        next_attempt=_optional_time(message, "next_attempt"),
        ended=_optional_time(message, "ended"),
        runs=message.runs,
        throttles=message.throttles,
        condition=message.condition,
        reason=message.reason,
        undelivered=message.undelivered,
        attempts=tuple(
            EventAttempt(
                started=time_of(attempt.started),
                ended=time_of(attempt.ended),
                status=attempt.status,
                error_type=attempt.error_type,
                error=attempt.error,
                version=attempt.version,
                billed=attempt.billed,
            )
            for attempt in message.attempts
        ),
    )


def event_settings(message: events_pb2.EventSettings) -> EventSettings:
    return EventSettings(
        function=message.function,
        qualifier=message.qualifier,
        max_retries=message.max_retries,
        max_age_s=message.max_age_s,
        on_success=message.on_success,
        on_failure=message.on_failure,
    )


def _optional_time(message: events_pb2.Event, field: str) -> datetime | None:
    present = message.HasField(field)
    return time_of(getattr(message, field)) if present else None


def reply(message: invocations_pb2.InvokeResponse) -> Reply:
    return Reply(
        payload=message.payload,
        report=report(message.report) if message.HasField("report") else None,
        log_tail=message.log_tail,
        request_id=message.request_id,
        executed_version=message.executed_version,
        status=STATUSES.get(message.status),
        function_error=message.function_error,
        replayed=message.replayed,
    )


def piece(message: invocations_pb2.InvokeStreamResponse) -> bytes | Reply:
    """A part of an answer, empty for what only announces it; or how it ended."""
    match message.WhichOneof("part"):
        case "complete":
            return reply(message.complete)
        case "piece":
            return message.piece
        case _:
            return b""


def report(message: invocations_pb2.Report) -> Report:
    has_init = message.HasField("init_duration")
    return Report(
        request_id=message.request_id,
        duration_ms=_ms(message.duration),
        init_ms=_ms(message.init_duration) if has_init else None,
        wait_ms=_ms(message.wait_duration),
        billed_ms=message.billed_ms,
        billed_mb_ms=message.billed_mb_ms,
        memory_mb=message.memory_mb,
        max_memory_mb=message.max_memory_used_mb,
        cold=message.cold,
    )


def log_lines(message: invocations_pb2.TailLogsResponse) -> tuple[LogLine, ...]:
    return tuple(
        LogLine(
            time=time_of(line.time),
            request_id=line.request_id,
            source=LogSource.PLATFORM
            if line.source == invocations_pb2.LOG_SOURCE_PLATFORM
            else LogSource.FUNCTION,
            data=line.text,
        )
        for line in message.lines
    )


def run(message: invocations_pb2.InvocationRecord) -> Run:
    return Run(
        function=message.function,
        time=time_of(message.time),
        status=STATUSES.get(message.status),
        error_type=message.error_type,
        report=report(message.report),
    )


def url(message: urls_pb2.Url) -> Url:
    is_open = message.auth == urls_pb2.URL_AUTH_NONE
    return Url(
        function=message.function,
        alias=message.alias,
        url=message.url,
        auth=UrlAuth.NONE if is_open else UrlAuth.IAM,
        stream=message.streamed,
        cors=_cors(message.cors) if message.HasField("cors") else None,
        created=time_of(message.created),
    )


def permission(message: permissions_pb2.Permission) -> Permission:
    return Permission(
        id=message.id,
        is_denial=message.is_denial,
        actions=tuple(message.actions),
        principals=tuple(message.principals),
        conditions=tuple(
            Condition(operator=each.operator, key=each.key, values=tuple(each.values))
            for each in message.conditions
        ),
    )


def _cors(message: urls_pb2.UrlCors) -> Cors:
    return Cors(
        origins=tuple(message.allow_origins),
        methods=tuple(message.allow_methods),
        headers=tuple(message.allow_headers),
        expose_headers=tuple(message.expose_headers),
        credentials=message.allow_credentials,
        max_age_s=message.max_age_s,
    )


def bill(message: tenants_pb2.GetBillResponse) -> Bill:
    return Bill(
        tenant_id=message.tenant_id,
        lines=tuple(map(_bill_line, message.lines)),
        total=_bill_line(message.total),
    )


def _bill_line(message: tenants_pb2.BillLine) -> BillLine:
    return BillLine(
        function=message.function,
        invocations=message.invocations,
        billed_ms=message.billed_ms,
        billed_mb_ms=message.billed_mb_ms,
    )


def tenant(message: tenants_pb2.Tenant) -> Tenant:
    return Tenant(
        id=message.id,
        name=message.name,
        concurrency=message.concurrency,
        network=_network(message.network),
        network_allow=tuple(message.network_allow),
        suspended=message.suspended,
        created=time_of(message.created),
    )


def key(message: tenants_pb2.Key) -> Key:
    return Key(
        tenant_id=message.tenant_id,
        access_key_id=message.access_key_id,
        is_operator=message.is_operator,
        created=time_of(message.created),
    )


def new_tenant(message: tenants_pb2.CreateTenantResponse) -> NewKey:
    return NewKey(
        tenant_id=message.tenant.id,
        access_key_id=message.access_key_id,
        secret_access_key=message.secret_access_key,
    )


def new_key(message: tenants_pb2.CreateKeyResponse) -> NewKey:
    return NewKey(
        tenant_id=message.key.tenant_id,
        access_key_id=message.key.access_key_id,
        secret_access_key=message.secret_access_key,
    )


def status(message: tenants_pb2.GetStatusResponse) -> EngineStatus:
    return EngineStatus(
        version=message.version,
        mode=message.mode,
        layers=tuple(
            IsolationLayer(
                name=layer.name,
                stops=layer.stops,
                holds=layer.holds,
                detail=layer.detail,
                given_up=layer.given_up,
            )
            for layer in message.layers
        ),
        runtimes=tuple(map(_runtime, message.runtimes)),
        zygotes=message.zygotes,
        instances=message.instances,
        on_host_network={
            one.tenant_id: one.functions for one in message.on_host_network
        },
    )


def runtimes(message: tenants_pb2.ListRuntimesResponse) -> tuple[Runtime, ...]:
    return tuple(map(_runtime, message.runtimes))


_KINDS: dict[int, Literal["zygote", "program"]] = {
    tenants_pb2.RUNTIME_KIND_ZYGOTE: "zygote",
    tenants_pb2.RUNTIME_KIND_PROGRAM: "program",
}


def _runtime(message: tenants_pb2.Runtime) -> Runtime:
    return Runtime(
        name=message.name,
        version=message.version,
        kind=_KINDS.get(message.kind),
        path=message.path,
        is_registered=message.is_registered,
        problem=message.problem,
        functions=message.functions,
    )


def _network(number: int) -> Network:
    # One that this client does not know is shown as the most there is.
    return NETWORKS.get(number, Network.HOST)


def nothing(message: object) -> None:
    """For answers that say no more than that it was done."""


def time_of(stamp: Timestamp) -> datetime:
    """UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def _ms(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e6
