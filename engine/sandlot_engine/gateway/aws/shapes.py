"""Functions, versions and aliases as AWS's answers show them."""

import platform
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sandlot_engine.gateway.aws import names
from sandlot_engine.model.function import (
    LATEST,
    Alias,
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    ImageConfig,
    Logging,
    UpdateStatus,
)
from sandlot_engine.model.layer import in_region

ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), "x86_64")
"""Of this machine, as AWS calls it; functions run on it or not at all."""

_NOT_IN_LISTS = (
    *("State", "StateReason", "StateReasonCode", "RuntimeVersionConfig"),
    *("LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"),
)


def function_configuration(
    function: Function, *, region: str, qualifier: str = ""
) -> dict[str, Any]:
    """AWS's `FunctionConfiguration`. `qualifier` is the one that its ARN bears."""
    revision = function.current
    config, code = revision.config, revision.code
    shown: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": names.function_arn(
            region, function.tenant_id, function.name, qualifier
        ),
        "Version": function.version,
        "RevisionId": function.revision_id,
        "LastModified": last_modified(function.last_modified),
        "CodeSha256": code_sha256(code),
        "CodeSize": code.size,
        "PackageType": "Image" if config.is_image else "Zip",
        "Architectures": [ARCHITECTURE],
        **_settings(config, function.name, region),
        "SnapStart": _snap_start(function),
        **_state(function),
    }
    if config.is_image:
        for name in _NOT_OF_IMAGES:
            shown.pop(name, None)
        if image := _image_config(config.image_config):
            shown["ImageConfigResponse"] = {"ImageConfig": image}
    else:
        arn = names.runtime_version_arn(region, config.runtime)
        shown["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    if config.per_tenant:
        shown["TenancyConfig"] = {"TenantIsolationMode": "PER_TENANT"}
    return shown


_NOT_OF_IMAGES = ("Runtime", "Handler")


def _image_config(config: ImageConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if config.entry_point:
        shown["EntryPoint"] = list(config.entry_point)
    if config.command:
        shown["Command"] = list(config.command)
    if config.working_directory:
        shown["WorkingDirectory"] = config.working_directory
    return shown


def listed(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The same, as lists show it: without what changes by itself."""
    return {k: v for k, v in configuration.items() if k not in _NOT_IN_LISTS}


def alias_configuration(alias: Alias, *, region: str) -> dict[str, Any]:
    """AWS's `AliasConfiguration`."""
    shown: dict[str, Any] = {
        "AliasArn": names.function_arn(
            region, alias.tenant_id, alias.function, alias.name
        ),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.weights:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return shown


def shown_qualifier(function: Function, asked: str | None) -> str:
    """What the ARN of an answer bears: what was asked for, or a version's number."""
    return asked or ("" if function.version == LATEST else function.version)


def code_sha256(code: Code) -> str:
    """AWS's form of a package's hash."""
    return code.sha256_base64


def last_modified(time: datetime) -> str:
    """`2026-11-28T15:04:05.123+0000`; `time` is UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}+0000"


def _settings(config: FunctionConfig, name: str, region: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Runtime": config.runtime,
        "Handler": config.handler,
        "Role": config.role,
        "Description": config.description,
        "Timeout": config.timeout_s,
        "MemorySize": config.memory_mb,
        "EphemeralStorage": {"Size": config.ephemeral_storage_mb},
        "TracingConfig": {"Mode": config.tracing},
        "LoggingConfig": _logging(config.logging, name),
    }
    if config.environment or config.has_environment:
        shown["Environment"] = {"Variables": dict(config.environment)}
    if config.layers:
        shown["Layers"] = [
            # As the caller may send it back, whoever gave it to the function.
            {"Arn": in_region(layer.arn, region), "CodeSize": layer.code.size}
            for layer in config.layers
        ]
    if config.kms_key_arn:
        shown["KMSKeyArn"] = config.kms_key_arn
    if config.dead_letter_arn:
        shown["DeadLetterConfig"] = {"TargetArn": config.dead_letter_arn}
    return shown


def _snap_start(function: Function) -> dict[str, str]:
    """`On` for a version whose instances are, or are about to be, clones."""
    is_on = (
        function.has_snapshot
        and function.fork_safe
        and function.state is not FunctionState.FAILED
    )
    return {
        "ApplyOn": "PublishedVersions"
        if function.current.config.snap_start
        else "None",
        "OptimizationStatus": "On" if is_on else "Off",
    }


def _logging(logging: Logging, name: str) -> dict[str, str]:
    shown = {
        "LogFormat": logging.format,
        "LogGroup": logging.group or f"/aws/lambda/{name}",
    }
    if logging.format == "JSON":
        shown["ApplicationLogLevel"] = logging.application_level or "INFO"
        shown["SystemLogLevel"] = logging.system_level or "INFO"
    return shown


def _state(function: Function) -> dict[str, str]:
    shown = {"State": function.state.value}
    match function.state:
        case FunctionState.PENDING:
            shown["StateReason"] = function.state_reason
            shown["StateReasonCode"] = "Creating"
        case FunctionState.FAILED:
            shown["StateReason"] = function.state_reason
            shown["StateReasonCode"] = function.state_reason_code or "InternalError"
        case FunctionState.ACTIVE | FunctionState.INACTIVE:
            # A new function has had no update, and yet AWS says so once it is ready.
            shown["LastUpdateStatus"] = UpdateStatus.SUCCESSFUL.value
    match function.update_status:
        case UpdateStatus.IN_PROGRESS:
            shown["LastUpdateStatus"] = function.update_status.value
            shown["LastUpdateStatusReason"] = function.update_reason
            shown["LastUpdateStatusReasonCode"] = "Creating"
        case UpdateStatus.FAILED:
            shown["LastUpdateStatus"] = function.update_status.value
            shown["LastUpdateStatusReason"] = function.update_reason
            shown["LastUpdateStatusReasonCode"] = "InternalError"
        case UpdateStatus.NONE | UpdateStatus.SUCCESSFUL:
            pass
    return shown
