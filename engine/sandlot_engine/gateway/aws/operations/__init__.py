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
from typing import Any

from sandlot_engine.gateway.aws.call import Call

__all__ = ["OPERATIONS", "Call", "Operation", "load", "operation"]


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
