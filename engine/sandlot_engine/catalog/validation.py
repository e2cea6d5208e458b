"""What a tenant may ask for. Pure: every check takes a value and raises, or not.

Limits are AWS Lambda's. Messages give the value, the limit, and what to do; where
AWS's words are known, they come first.
"""

import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from sandlot_engine.errors import InvalidParameter, PermissionDenied
from sandlot_engine.model.function import (
    FunctionConfig,
    ImageConfig,
    ImageSource,
    InitMode,
)
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import Tenant

MAX_NAME = 64
MAX_HANDLER = 128
MAX_DESCRIPTION = 256
MAX_ENVIRONMENT = 4_096
"""Bytes of the environment as compact JSON."""

MAX_ARGUMENTS, MAX_DIRECTORY = 1_500, 1_000
MAX_IMAGE_TEXT = 4_096
MAX_IMAGE_CONFIG = 16_384
"""Of an image's settings; in all, bytes."""

MEMORY_MB = range(128, 10_240 + 1)
TIMEOUT_S = range(1, 900 + 1)
EPHEMERAL_STORAGE_MB = range(512, 10_240 + 1)

MAX_ALLOWED_CIDRS = 64
"""Networks that one tenant's functions may reach beside the public ones."""

RESERVED_KEYS = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
"""Set by the platform; a function cannot choose them."""

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
_ENVIRONMENT_FAILED = (
    "Lambda was unable to configure your environment variables because the "
    "environment variables you have provided "
)
_SHOWN_ENVIRONMENT = 65_536
"""AWS repeats all of it, and tools compare; over gRPC messages are cut anyway."""

_SHOWN = 200
"""Characters of a refused value that are repeated in the message."""


def check_name(name: str) -> None:
    """Raise `InvalidParameter` unless a function can be called that."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Function name {_shown(name)} must have 1 to {MAX_NAME} letters, digits, "
            f"hyphens and underscores alone; it has {len(name)} characters.",
            field="name",
        )


def check_config(config: FunctionConfig, runtimes: Collection[str]) -> None:
    """Raise `InvalidParameter` unless the node can run a function so configured."""
    if config.is_image:
        _check_image(config)
    else:
        _check_runtime(config.runtime, runtimes)
        _check_handler(config.handler)
        if config.image_config != ImageConfig():
            raise InvalidParameter(
                "ImageConfig is for functions with package type Image.",
                field="image_config",
            )
    _check_number("memory_mb", config.memory_mb, MEMORY_MB, "memory", "MB")
    _check_number("timeout_s", config.timeout_s, TIMEOUT_S, "timeout", "seconds")
    _check_number(
        "ephemeral_storage_mb",
        config.ephemeral_storage_mb,
        EPHEMERAL_STORAGE_MB,
        "ephemeral storage",
        "MB",
    )
    _check_description(config.description)
    _check_environment(config.environment)
    _check_member("init_mode", config.init_mode, InitMode)
    _check_member("network", config.network, Network)
    if config.snap_start:
        _check_snap_start(config)


def _check_snap_start(config: FunctionConfig) -> None:
    most_mb = EPHEMERAL_STORAGE_MB.start
    if config.is_program:
        why = f"{config.runtime} is not supported for SnapStart enabled functions."
    elif config.per_tenant:
        why = "A function with tenant isolation cannot have SnapStart."
    elif config.init_mode is InitMode.PER_INSTANCE:
        why = "A function with init mode 'per-instance' cannot have SnapStart."
    elif config.ephemeral_storage_mb > most_mb:
        why = (
            f"A function with SnapStart has {most_mb} MB of ephemeral storage at most, "
            f"not {config.ephemeral_storage_mb} MB."
        )
    else:
        return
    raise InvalidParameter(why, field="snap_start")


def check_kind(
    config: FunctionConfig, package: bytes | ImageSource, *, is_new: bool
) -> None:
    """Raise `InvalidParameter` for a zip where there is an image, and the other way
    round."""
    if isinstance(package, ImageSource) == config.is_image:
        return
    if is_new:
        _check_runtime(config.runtime, ())
    raise InvalidParameter(
        "Please provide ImageUri when updating a function with packageType Image."
        if config.is_image
        else "Please don't provide ImageUri when updating a function with packageType "
        "Zip.",
        field="image_uri",
    )


def _check_image(config: FunctionConfig) -> None:
    """What it may have, and what it cannot."""
    without = {
        "handler": config.handler,
        "layers": config.layers,
        "snap_start": config.snap_start,
    }
    for field, value in without.items():
        if value:
            raise InvalidParameter(
                f"A function with package type Image has no {field}: what is run is "
                "the image's, or ImageConfig's.",
                field=field,
            )
    wanted = config.image_config
    texts = (*wanted.entry_point, *wanted.command, wanted.working_directory)
    for text in texts:
        if not _is_text(text, MAX_IMAGE_TEXT) or "\0" in text:
            raise InvalidParameter(
                f"{_shown(text)} in ImageConfig is nothing that could be run: a word "
                f"has {MAX_IMAGE_TEXT} characters at most, and no NUL.",
                field="image_config",
            )
    for name, words in (
        ("EntryPoint", wanted.entry_point),
        ("Command", wanted.command),
    ):
        if len(words) > MAX_ARGUMENTS:
            raise InvalidParameter(
                f"{name} has {len(words)} words of {MAX_ARGUMENTS} allowed.",
                field="image_config",
            )
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_IMAGE_CONFIG:
        raise InvalidParameter(
            f"ImageConfig has {size} bytes of {MAX_IMAGE_CONFIG} allowed.",
            field="image_config",
        )
    if len(wanted.working_directory) > MAX_DIRECTORY:
        raise InvalidParameter(
            f"WorkingDirectory has more than {MAX_DIRECTORY} characters.",
            field="image_config",
        )


def check_network(network: Network, tenant: Tenant) -> None:
    """Raise `PermissionDenied` where a tenant's functions may not have `network`."""
    if network.exceeds(tenant.network):
        raise PermissionDenied(
            f"The function asks for network {network.value!r}, and tenant {tenant.id} "
            f"may have {tenant.network.value!r} at most. Deploy it with network "
            f"{tenant.network.value!r}, or have the operator allow more: "
            f"sandlot tenant update {tenant.id} --network {network.value}",
            reason="NetworkNotAllowed",
            network=network.value,
            most=tenant.network.value,
        )


def checked_cidrs(cidrs: Iterable[str]) -> tuple[str, ...]:
    """The networks, canonical and sorted. Raises `InvalidParameter` unless each can
    be allowed to functions with egress, and there are few enough."""
    networks = {_network(cidr) for cidr in cidrs}
    if len(networks) > MAX_ALLOWED_CIDRS:
        raise InvalidParameter(
            f"network_allow has {len(networks)} networks of {MAX_ALLOWED_CIDRS} "
            "allowed. Put neighbours together.",
            field="network_allow",
        )
    return tuple(map(str, sorted(networks)))


def _network(cidr: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise _bad_cidr(
            cidr, "is no network such as 10.1.0.0/16, whose bits after the 16th are 0"
        ) from error
    if network.is_loopback:
        # Allowed, it would do nothing: every instance has a loopback of its own.
        raise _bad_cidr(
            cidr,
            "is loopback, which is each instance's own. What listens on the machine's "
            "is reached with network 'host' alone",
        )
    if not isinstance(network, ipaddress.IPv4Network):
        raise _bad_cidr(cidr, "is IPv6, and functions have no more than IPv4")
    return network


def _bad_cidr(cidr: object, what: str) -> InvalidParameter:
    return InvalidParameter(
        f"{_shown(cidr)} in network_allow {what}.", field="network_allow"
    )


def _check_member(field: str, value: object, kind: type[StrEnum]) -> None:
    if not isinstance(value, kind):
        raise InvalidParameter(
            f"{field} {_shown(value)} must be one of {', '.join(kind)}.", field=field
        )


def _check_runtime(runtime: str, runtimes: Collection[str]) -> None:
    if runtime not in runtimes:
        known = ", ".join(sorted(runtimes)) or "none"
        raise InvalidParameter(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must "
            f"satisfy enum value set: [{known}] or be a valid ARN. These are the "
            "interpreters that this machine has.",
            field="runtime",
        )


def _check_handler(handler: str) -> None:
    if not _is_text(handler, MAX_HANDLER) or not re.fullmatch(r"\S+", handler):
        raise InvalidParameter(
            f"Handler {_shown(handler)} must have 1 to {MAX_HANDLER} characters and no "
            "white space, as in 'module.function'.",
            field="handler",
        )


def _check_number(
    field: str, value: object, allowed: range, what: str, unit: str
) -> None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or value not in allowed:
        raise InvalidParameter(
            f"The {what} is {_shown(value)}; it must be {allowed.start} to "
            f"{allowed.stop - 1} {unit}.",
            field=field,
        )


def _check_description(description: str) -> None:
    if not _is_text(description, MAX_DESCRIPTION):
        raise InvalidParameter(
            f"The description has {len(description)} characters of {MAX_DESCRIPTION} "
            "allowed, or is no text. Shorten it.",
            field="description",
        )


def _check_environment(environment: Mapping[str, str]) -> None:
    for key, value in environment.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise _bad_variable(key, "must be text, and so must its value")
        if key not in RESERVED_KEYS and not _KEY.fullmatch(key):
            raise _bad_variable(
                key, "must be two or more letters, digits and '_', a letter first"
            )
        if "\0" in value or not is_unicode(value):
            raise _bad_variable(key, "has a value that no environment can hold")
    if reserved := sorted(RESERVED_KEYS & environment.keys()):
        raise InvalidParameter(
            f"{_ENVIRONMENT_FAILED}contains reserved keys that are currently not "
            "supported for modification. Reserved keys used in this request: "
            f"{', '.join(reserved)}",
            field="environment",
        )
    measured = json.dumps(dict(environment), ensure_ascii=False, separators=(",", ":"))
    if len(measured.encode()) > MAX_ENVIRONMENT:
        raise InvalidParameter(
            f"{_ENVIRONMENT_FAILED}exceeded the 4KB limit. "
            f"String measured: {measured[:_SHOWN_ENVIRONMENT]}",
            field="environment",
        )


def _bad_variable(key: object, what: str) -> InvalidParameter:
    return InvalidParameter(
        f"Environment variable {_shown(key)} {what}.", field="environment"
    )


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most and is_unicode(value)


def is_unicode(value: str) -> bool:
    """Whether all of it is text. A lone surrogate can be written in JSON, and is in no
    file, wire or environment."""
    if value.isascii():
        return True
    try:
        value.encode()  # takes a twentieth of looking at each character
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
