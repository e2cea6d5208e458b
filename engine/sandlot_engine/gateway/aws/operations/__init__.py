"""The operations: each an async function from a `Call` to its output.

One file a group. A module here registers its own:

    @operation("CreateFunction")
    async def create_function(call: Call) -> Mapping[str, Any]: ...

Input and output are dicts under botocore's member names. What is not registered is
refused by name.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandlot_engine.gateway.ports import Backend
from sandlot_engine.model.tenant import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request for an operation: authentic, and as the model allows it."""

    caller: Caller
    region: str
    """Of the signature. Functions are the same in all; ARNs in the answer have it."""

    request_id: str
    operation: str
    input: Mapping[str, Any]
    backend: Backend
    base_url: str
    """Where the client reached us: `http://127.0.0.1:9000`."""


Operation = Callable[[Call], Awaitable[Mapping[str, Any]]]

OPERATIONS: dict[str, Operation] = {}
"""By the model's name."""


def operation(name: str) -> Callable[[Operation], Operation]:
    """Register the function as the operation of that name."""

    def register(function: Operation) -> Operation:
        if name in OPERATIONS:
            raise ValueError(f"{name} is registered twice")
        OPERATIONS[name] = function
        return function

    return register


def load() -> Mapping[str, Operation]:
    """All operations, those of every module here."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return OPERATIONS
