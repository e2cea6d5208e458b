"""Wire <-> model, in one place. Durations and times are exact: whole microseconds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sandlot.v1 import functions_pb2 as functions
from sandlot.v1 import invocations_pb2 as invocations
from sandlot.v1 import tenants_pb2 as tenants
from sandlot_engine.catalog.packages import check_sent
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.ports import EngineStatus, Runtime
from sandlot_engine.gateway.rpc.faces import Face
from sandlot_engine.model.function import (
    IMAGE,
    LATEST,
    Function,
    FunctionConfig,
    FunctionState,
    ImageConfig,
    ImageSource,
    InitMode,
    UpdateStatus,
    function_arn,
)
from sandlot_engine.model.invocation import (
    BillLine,
    InvocationType,
    LogLine,
    LogSource,
    Outcome,
    Record,
    Report,
    Status,
)
from sandlot_engine.model.layer import in_region
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import AccessKey, Tenant

# --- times ----------------------------------------------------------------------


def timestamp(time: datetime) -> Timestamp:
    """`time` knows its zone."""
    wire = Timestamp()
    wire.FromDatetime(time)
    return wire


def time_of(message: Any, field: str) -> datetime | None:
    """The time in an optional field, UTC. Raise `InvalidParameter` where the
    calendar has no such time."""
    if not message.HasField(field):
        return None
    try:
        time: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(f"{field} is not a time: {error}", field=field) from None
    return time


def duration(milliseconds: float) -> Duration:
    """Our milliseconds are whole microseconds divided by 1000, so this is exact."""
    # As `FromMicroseconds` does it, without its checks: five times as fast.
    seconds, microseconds = divmod(round(milliseconds * 1_000), 1_000_000)
    return Duration(seconds=seconds, nanos=microseconds * 1_000)


# --- functions ------------------------------------------------------------------

SHARES_NETWORK = "It shares the machine's network."


_INIT_MODES: dict[int, InitMode] = {
    functions.INIT_MODE_UNSPECIFIED: InitMode.AUTO,
    functions.INIT_MODE_AUTO: InitMode.AUTO,
    functions.INIT_MODE_PER_INSTANCE: InitMode.PER_INSTANCE,
}
_INIT_MODES_OUT = {
    InitMode.AUTO: functions.INIT_MODE_AUTO,
    InitMode.PER_INSTANCE: functions.INIT_MODE_PER_INSTANCE,
}
_NETWORKS: dict[int, Network] = {
    functions.NETWORK_UNSPECIFIED: Network.NONE,
    functions.NETWORK_NONE: Network.NONE,
    functions.NETWORK_EGRESS: Network.EGRESS,
    functions.NETWORK_HOST: Network.HOST,
}
_NETWORKS_OUT = {
    Network.NONE: functions.NETWORK_NONE,
    Network.EGRESS: functions.NETWORK_EGRESS,
    Network.HOST: functions.NETWORK_HOST,
}
_STATES_OUT = {
    FunctionState.PENDING: functions.FUNCTION_STATE_PENDING,
    FunctionState.ACTIVE: functions.FUNCTION_STATE_ACTIVE,
    FunctionState.FAILED: functions.FUNCTION_STATE_FAILED,
    FunctionState.INACTIVE: functions.FUNCTION_STATE_INACTIVE,
}
_UPDATES_OUT = {
    UpdateStatus.NONE: functions.UPDATE_STATUS_UNSPECIFIED,
    UpdateStatus.IN_PROGRESS: functions.UPDATE_STATUS_IN_PROGRESS,
    UpdateStatus.SUCCESSFUL: functions.UPDATE_STATUS_SUCCESSFUL,
    UpdateStatus.FAILED: functions.UPDATE_STATUS_FAILED,
}


def package_of(zip_bytes: bytes, image_uri: str) -> bytes | ImageSource:
    """What a function is made of. Raises `TooLarge`."""
    if not image_uri:
        return check_sent(zip_bytes)
    if zip_bytes:
        raise InvalidParameter(
            "Send a zip or an image_uri, not both.", field="image_uri"
        )
    return ImageSource(uri=image_uri)


def config_of(
    wire: functions.FunctionConfig, *, is_image: bool = False
) -> FunctionConfig:
    """The settings of a new function; zeros are left to the defaults."""
    given: dict[str, Any] = {
        "memory_mb": wire.memory_mb,
        "timeout_s": wire.timeout_s,
        "ephemeral_storage_mb": wire.ephemeral_storage_mb,
    }
    return FunctionConfig(
        handler=wire.handler,
        runtime=IMAGE if is_image else wire.runtime,
        environment=dict(wire.environment),
        description=wire.description,
        init_mode=_init_mode(wire.init_mode),
        network=network_of(wire.network),
        snap_start=wire.snap_start,
        image_config=ImageConfig(
            entry_point=tuple(wire.entry_point),
            command=tuple(wire.command),
            working_directory=wire.working_directory,
        ),
        **{name: value for name, value in given.items() if value},
    )


def changes_of(
    wire: functions.UpdateFunctionConfigurationRequest,
) -> Mapping[str, object]:
    """The settings that are present, by their names in `FunctionConfig`."""
    plain = (
        "handler",
        "runtime",
        "memory_mb",
        "timeout_s",
        "ephemeral_storage_mb",
        "description",
        "snap_start",
    )
    changes: dict[str, object] = {
        name: getattr(wire, name) for name in plain if wire.HasField(name)
    }
    if wire.HasField("environment"):
        changes["environment"] = dict(wire.environment.variables)
    if wire.HasField("init_mode"):
        changes["init_mode"] = _init_mode(wire.init_mode)
    if wire.HasField("network"):
        changes["network"] = network_of(wire.network)
    if of_image := _image_changes(wire):
        changes["image_config"] = of_image
    return MappingProxyType(changes)


def _image_changes(
    wire: functions.UpdateFunctionConfigurationRequest,
) -> Mapping[str, object]:
    """By their names in `ImageConfig`."""
    changes: dict[str, object] = {
        name: tuple(getattr(wire, name).words)
        for name in ("entry_point", "command")
        if wire.HasField(name)
    }
    if wire.HasField("working_directory"):
        changes["working_directory"] = wire.working_directory
    return changes


def _init_mode(wire: int) -> InitMode:
    if wire not in _INIT_MODES:
        raise InvalidParameter(f"init_mode {wire} is unknown", field="init_mode")
    return _INIT_MODES[wire]


def network_of(wire: int) -> Network:
    """What is not set is the least. Raise `InvalidParameter` for what is unknown."""
    if wire not in _NETWORKS:
        raise InvalidParameter(f"network {wire} is unknown", field="network")
    return _NETWORKS[wire]


def function_out(
    function: Function,
    *,
    region: str,
    given_up: Sequence[str],
    weaker: Sequence[str],
    instances: tuple[int, int] = (0, 0),
    tags: Mapping[str, str] = MappingProxyType({}),
) -> functions.Function:
    """`given_up` and `weaker` are layers of the jail, by their names; `instances` says
    how many live, and how many of those stand by."""
    revision = function.current
    config = revision.config
    qualifier = "" if function.version == LATEST else function.version
    return functions.Function(
        name=function.name,
        arn=function_arn(region, function.tenant_id, function.name, qualifier),
        version=function.version,
        config=functions.FunctionConfig(
            handler=config.handler,
            runtime="" if config.is_image else config.runtime,
            memory_mb=config.memory_mb,
            timeout_s=config.timeout_s,
            environment=config.environment,
            ephemeral_storage_mb=config.ephemeral_storage_mb,
            description=config.description,
            init_mode=_INIT_MODES_OUT[config.init_mode],
            network=_NETWORKS_OUT[config.network],
            snap_start=config.snap_start,
            entry_point=config.image_config.entry_point,
            command=config.image_config.command,
            working_directory=config.image_config.working_directory,
            layers=[in_region(layer.arn, region) for layer in config.layers],
        ),
        code_size=revision.code.size,
        code_sha256=revision.code.sha256_base64,
        image_uri=revision.code.image.uri if revision.code.image else "",
        state=_STATES_OUT[function.state],
        state_reason=" ".join(
            filter(
                None,
                (function.state_reason, _weakness(config, given_up, weaker)),
            )
        ),
        update_status=_UPDATES_OUT[function.update_status],
        update_reason=function.update_reason,
        fork_safe=function.fork_safe,
        fork_safety_reason=function.fork_safety_reason,
        last_modified=timestamp(function.last_modified),
        revision_id=function.revision_id,
        instances=instances[0],
        standbys=instances[1],
        tags=tags,
    )


def _weakness(
    config: FunctionConfig, given_up: Sequence[str], weaker: Sequence[str]
) -> str:
    """What isolates this function less than others, shown wherever its state is."""
    network = SHARES_NETWORK if config.network is Network.HOST else ""
    without = f"Isolated without {', '.join(given_up)}." if given_up else ""
    less = f"Isolated more weakly by {', '.join(weaker)}." if weaker else ""
    return " ".join(filter(None, (network, without, less)))


# --- invocations ----------------------------------------------------------------

_TYPES: dict[int, InvocationType] = {
    invocations.INVOCATION_TYPE_UNSPECIFIED: InvocationType.REQUEST_RESPONSE,
    invocations.INVOCATION_TYPE_REQUEST_RESPONSE: InvocationType.REQUEST_RESPONSE,
    invocations.INVOCATION_TYPE_EVENT: InvocationType.EVENT,
    invocations.INVOCATION_TYPE_DRY_RUN: InvocationType.DRY_RUN,
}
_STATUSES_OUT = {
    Status.OK: invocations.INVOCATION_STATUS_OK,
    Status.ERROR: invocations.INVOCATION_STATUS_ERROR,
    Status.TIMEOUT: invocations.INVOCATION_STATUS_TIMEOUT,
    Status.CRASHED: invocations.INVOCATION_STATUS_CRASHED,
    Status.INIT_FAILED: invocations.INVOCATION_STATUS_INIT_FAILED,
    Status.CANCELLED: invocations.INVOCATION_STATUS_CANCELLED,
}
_SOURCES_OUT = {
    LogSource.PLATFORM: invocations.LOG_SOURCE_PLATFORM,
    LogSource.FUNCTION: invocations.LOG_SOURCE_FUNCTION,
}


def invocation_type_of(wire: int) -> InvocationType:
    if wire not in _TYPES:
        raise InvalidParameter(
            f"invocation_type {wire} is unknown", field="invocation_type"
        )
    return _TYPES[wire]


def outcome_out(outcome: Outcome) -> invocations.InvokeResponse:
    return invocations.InvokeResponse(
        payload=outcome.payload,
        function_error=outcome.function_error,
        executed_version=outcome.executed_version,
        log_tail=outcome.log_tail,
        report=_report_out(outcome.report, outcome.request_id),
        request_id=outcome.request_id,
        status=_STATUSES_OUT[outcome.status],
        replayed=outcome.is_replayed,
    )


def refused_out(face: Face) -> invocations.Refused:
    return invocations.Refused(
        code=face.code.value[0],
        reason=face.reason,
        message=face.message,
        retry_after=face.retry_after,
    )


def record_out(record: Record) -> invocations.InvocationRecord:
    return invocations.InvocationRecord(
        function=record.function,
        time=timestamp(record.time),
        status=_STATUSES_OUT[record.status],
        error_type=record.error_type,
        report=_report_out(record.report, record.request_id),
    )


def _report_out(report: Report, request_id: str) -> invocations.Report:
    return invocations.Report(
        request_id=request_id,
        duration=duration(report.duration_ms),
        init_duration=None if report.init_ms is None else duration(report.init_ms),
        billed_ms=report.billed_ms,
        memory_mb=report.memory_mb,
        max_memory_used_mb=report.max_memory_used_mb,
        billed_mb_ms=report.billed_mb_ms,
        wait_duration=duration(report.wait_ms),
        cold=report.is_cold,
    )


def log_line_out(line: LogLine) -> invocations.LogLine:
    return invocations.LogLine(
        time=timestamp(line.time),
        request_id=line.request_id,
        source=_SOURCES_OUT[line.source],
        text=line.text,
    )


# --- tenants, bills, the engine -------------------------------------------------


def tenant_out(tenant: Tenant) -> tenants.Tenant:
    return tenants.Tenant(
        id=tenant.id,
        name=tenant.name,
        concurrency=tenant.concurrency,
        created=timestamp(tenant.created),
        network=_NETWORKS_OUT[tenant.network],
        network_allow=tenant.network_allow,
        suspended=tenant.is_suspended,
    )


def key_out(key: AccessKey) -> tenants.Key:
    return tenants.Key(
        tenant_id=key.tenant_id,
        access_key_id=key.id,
        is_operator=key.is_operator,
        created=timestamp(key.created),
    )


def bill_line_out(line: BillLine) -> tenants.BillLine:
    return tenants.BillLine(
        function=line.function,
        invocations=line.invocations,
        billed_ms=line.billed_ms,
        billed_mb_ms=line.billed_mb_ms,
    )


def status_out(
    status: EngineStatus, *, on_host_network: Mapping[str, int]
) -> tenants.GetStatusResponse:
    """`on_host_network`: how many functions share it, by tenant."""
    return tenants.GetStatusResponse(
        version=status.version,
        mode=status.mode,
        layers=[
            tenants.IsolationLayer(
                name=layer.name,
                stops=layer.stops,
                holds=layer.holds,
                detail=layer.detail,
                given_up=layer.given_up,
            )
            for layer in status.layers
        ],
        runtimes=[
            tenants.Runtime(name=runtime.name, version=runtime.version)
            for runtime in status.runtimes
            if not runtime.problem
        ],
        zygotes=status.zygotes,
        instances=status.instances,
        on_host_network=[
            tenants.HostNetwork(tenant_id=tenant_id, functions=count)
            for tenant_id, count in sorted(on_host_network.items())
        ],
    )


def runtime_out(runtime: Runtime, functions: int) -> tenants.Runtime:
    """A runtime, with how many functions use it."""
    return tenants.Runtime(
        name=runtime.name,
        version=runtime.version,
        kind=(
            tenants.RUNTIME_KIND_PROGRAM
            if runtime.is_program
            else tenants.RUNTIME_KIND_ZYGOTE
        ),
        path=runtime.path,
        is_registered=runtime.is_registered,
        problem=runtime.problem,
        functions=functions,
    )
