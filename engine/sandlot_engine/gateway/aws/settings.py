"""What a client sends of a function's settings -> `FunctionConfig`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.aws.shapes import ARCHITECTURE
from sandlot_engine.model.function import IMAGE, FunctionConfig, ImageConfig, Logging


def config_of(given: Mapping[str, Any]) -> FunctionConfig:
    """The settings of a new function; `Layers` are `LayerUse`s already.

    Raises `InvalidParameter`.
    """
    is_image = given.get("PackageType") == "Image"
    if is_image:
        # Texts that are empty are what some send for "none".
        for name in ("Runtime", "Handler", "Layers"):
            if given.get(name):
                raise InvalidParameter(
                    f"Please don't provide {name} when the intended function "
                    "PackageType is Image.",
                    field=name,
                )
        given = {**given, "Runtime": IMAGE, "Handler": ""}
    for name in ("Runtime", "Handler"):
        if name not in given:
            raise InvalidParameter(
                "Runtime and Handler are mandatory parameters for functions created "
                "with deployment packages.",
                field=name,
            )
    check_package(given)
    per_tenant = given.get("TenancyConfig", {}).get("TenantIsolationMode")
    return FunctionConfig(
        **changes_of(given, Logging()), per_tenant=per_tenant == "PER_TENANT"
    )


def changes_of(given: Mapping[str, Any], logging: Logging) -> dict[str, Any]:
    """The settings that are there, by their names in `FunctionConfig`.

    `logging` is the function's as it is now: what is sent changes a part of it.
    """
    changes = {
        ours: given[theirs] for theirs, ours in _PLAIN.items() if theirs in given
    }
    if "ImageConfig" in given:
        changes["image_config"] = ImageConfig(
            entry_point=tuple(given["ImageConfig"].get("EntryPoint", ())),
            command=tuple(given["ImageConfig"].get("Command", ())),
            working_directory=given["ImageConfig"].get("WorkingDirectory", ""),
        )
    if "Environment" in given:
        changes["environment"] = dict(given["Environment"].get("Variables", {}))
        changes["has_environment"] = True
    if "EphemeralStorage" in given:
        changes["ephemeral_storage_mb"] = given["EphemeralStorage"]["Size"]
    if "TracingConfig" in given:
        changes["tracing"] = given["TracingConfig"].get("Mode", "PassThrough")
    if "DeadLetterConfig" in given:
        changes["dead_letter_arn"] = given["DeadLetterConfig"].get("TargetArn", "")
    if "Layers" in given:
        changes["layers"] = tuple(given["Layers"])
    if "SnapStart" in given:
        changes["snap_start"] = given["SnapStart"].get("ApplyOn") == "PublishedVersions"
    if "LoggingConfig" in given:
        changes["logging"] = _logging_of(given["LoggingConfig"], logging)
    return changes


def check_package(given: Mapping[str, Any]) -> None:
    """Raise `InvalidParameter` for packages that are none of ours, or of a machine that
    this one is not."""
    architectures = given.get("Architectures") or [ARCHITECTURE]
    if architectures != [ARCHITECTURE]:
        raise InvalidParameter(
            f"Architectures {architectures} is not supported: this machine is "
            f"{ARCHITECTURE}. Leave it out, or build the package for that.",
            field="Architectures",
        )


def check_source(package_type: str, code: Mapping[str, Any]) -> None:
    """Raise `InvalidParameter`, in AWS's words, for a zip of what is to be an
    image, and the other way round."""
    if package_type == "Image" and not code.get("ImageUri"):
        raise InvalidParameter(
            "Please provide ImageUri when creating a function with packageType Image.",
            field="Code",
        )
    if package_type != "Image" and code.get("ImageUri"):
        raise InvalidParameter(
            "Please don't provide ImageUri when creating a function with packageType "
            "Zip.",
            field="Code",
        )


def resolved(uri: str) -> str:
    """An image's address without its tag, for its digest to follow."""
    kind, _, rest = uri.partition(":")
    return f"{kind}:{rest.partition(':')[0]}"


_PLAIN = {
    "Runtime": "runtime",
    "Handler": "handler",
    "Role": "role",
    "Description": "description",
    "Timeout": "timeout_s",
    "MemorySize": "memory_mb",
    "KMSKeyArn": "kms_key_arn",
}


def _logging_of(given: Mapping[str, str], now: Logging) -> Logging:
    format_ = given.get("LogFormat", now.format)
    group = given.get("LogGroup", now.group)
    levels = {
        ours: given[theirs] for theirs, ours in _LEVELS.items() if theirs in given
    }
    if format_ == "JSON":
        return replace(now, format=format_, group=group, **levels)
    if levels:
        raise InvalidParameter(
            "To use log level filtering, you must set your function's log format to "
            "JSON.",
            field="LoggingConfig",
        )
    return Logging(format=format_, group=group)


_LEVELS = {
    "ApplicationLogLevel": "application_level",
    "SystemLogLevel": "system_level",
}
