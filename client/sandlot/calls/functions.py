"""Calls about functions: their code, and their settings."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from sandlot import parsing
from sandlot.calls.call import NETWORKS, PAGE_SIZE, Call, member, qualified
from sandlot.errors import UsageError
from sandlot.parsing import Page
from sandlot.results import Function, InitMode, Network
from sandlot.v1 import functions_pb2 as fn

INIT_MODES = {
    InitMode.AUTO: fn.INIT_MODE_AUTO,
    InitMode.PER_INSTANCE: fn.INIT_MODE_PER_INSTANCE,
}


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

    layers: Sequence[str]
    """Layer versions at /opt, in their order: ARNs, or `NAME:VERSION` of own ones."""


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
    "layers": "layers",
}
"""What `FunctionOptions` are called in messages and in `Function`."""

LISTS = frozenset(("entry_point", "command", "layers"))
"""Of them, those with several words."""


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


def update_configuration(name: str, options: FunctionOptions) -> Call[Function]:
    settings = _settings(options)
    if (variables := settings.get("environment")) is not None:
        settings["environment"] = fn.Environment(variables=variables)
    for one in LISTS & settings.keys():
        settings[one] = fn.Words(words=settings[one])
    return Call(
        method="/sandlot.v1.FunctionService/UpdateFunctionConfiguration",
        request=fn.UpdateFunctionConfigurationRequest(name=name, **settings),
        response=fn.UpdateFunctionConfigurationResponse,
        parse=_function,
    )


def get_function(name: str, *, qualifier: str = "") -> Call[Function]:
    name, qualifier = qualified(name, qualifier)
    return Call(
        method="/sandlot.v1.FunctionService/GetFunction",
        request=fn.GetFunctionRequest(name=name, qualifier=qualifier),
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


def tag_function(name: str, tags: Mapping[str, str]) -> Call[dict[str, str]]:
    return Call(
        method="/sandlot.v1.FunctionService/TagFunction",
        request=fn.TagFunctionRequest(name=name, tags=tags),
        response=fn.TagFunctionResponse,
        parse=lambda message: dict(message.tags),
    )


def untag_function(name: str, keys: Sequence[str]) -> Call[dict[str, str]]:
    if isinstance(keys, str):
        # Its characters would be taken for the keys.
        raise UsageError(f"keys is a list: [{keys!r}]")
    return Call(
        method="/sandlot.v1.FunctionService/UntagFunction",
        request=fn.UntagFunctionRequest(name=name, keys=keys),
        response=fn.UntagFunctionResponse,
        parse=lambda message: dict(message.tags),
    )


def _function(message: Any) -> Function:
    return parsing.function(message.function)


def _settings(options: FunctionOptions) -> dict[str, Any]:
    """The options by their names in messages. Raises TypeError for others, and
    `UsageError` for a value that there is not.
    """
    if unknown := options.keys() - FIELDS.keys():
        raise TypeError(
            f"no such setting of a function: {', '.join(sorted(unknown))}; there are "
            f"{', '.join(FIELDS)}"
        )
    settings = {FIELDS[option]: value for option, value in options.items()}
    if "init_mode" in settings:
        settings["init_mode"] = INIT_MODES[member(InitMode, settings["init_mode"])]
    if "network" in settings:
        settings["network"] = NETWORKS[member(Network, settings["network"])]
    for name in LISTS & settings.keys():
        if isinstance(settings[name], str):
            # Its characters would be taken for the words.
            raise UsageError(f"{name} is a list of words: [{settings[name]!r}]")
    for option in options:
        _check_type(option, settings[FIELDS[option]])
    return settings


def _check_type(option: str, value: Any) -> None:
    """Raise `UsageError` for what a message cannot hold, which says neither what nor
    why. The value is not shown: it may be a secret."""
    if option == "env":
        pairs = value.items() if isinstance(value, Mapping) else [(option, value)]
        for key, text in pairs:
            if not (isinstance(key, str) and isinstance(text, str)):
                raise UsageError(
                    "env has texts by their names, and what is given for "
                    f"{key!r} is of type {type(text).__name__}"
                )
        return
    try:
        fn.FunctionConfig(**{FIELDS[option]: value})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{option} cannot be of type {type(value).__name__}: {error}"
        ) from error
