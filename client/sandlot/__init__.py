"""Sandlot's client: the SDK in two twins, and the command `sandlot`.

    from sandlot import AsyncClient, Client, errors

Everything here is imported at first use: the command line imports this package
too, and gRPC alone would more than double the time that `sandlot --help` takes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandlot import errors
    from sandlot.aio import AsyncClient, AsyncFunctionHandle, AsyncTicket
    from sandlot.client import Client, FunctionHandle, Ticket
    from sandlot.results import (
        JSON,
        Alias,
        Bill,
        BillLine,
        Concurrency,
        Cors,
        EngineStatus,
        Event,
        EventAttempt,
        EventSettings,
        EventState,
        Function,
        Key,
        LayerVersion,
        LogLine,
        MapResult,
        Network,
        NewKey,
        Permission,
        ProvisionedConcurrency,
        ProvisionStatus,
        Reply,
        Report,
        Run,
        Status,
        Tenant,
        Url,
        UrlAuth,
    )
    from sandlot.triggers import (
        Bucket,
        Directory,
        MissedRuns,
        NewTrigger,
        Schedule,
        ScheduleProgress,
        Scheme,
        Trigger,
        Webhook,
    )

__version__ = "0.1.0"

__all__ = [
    "JSON",
    "Alias",
    "AsyncClient",
    "AsyncFunctionHandle",
    "AsyncTicket",
    "Bill",
    "BillLine",
    "Bucket",
    "Client",
    "Concurrency",
    "Cors",
    "Directory",
    "EngineStatus",
    "Event",
    "EventAttempt",
    "EventSettings",
    "EventState",
    "Function",
    "FunctionHandle",
    "Key",
    "LayerVersion",
    "LogLine",
    "MapResult",
    "MissedRuns",
    "Network",
    "NewKey",
    "NewTrigger",
    "Permission",
    "ProvisionStatus",
    "ProvisionedConcurrency",
    "Reply",
    "Report",
    "Run",
    "Schedule",
    "ScheduleProgress",
    "Scheme",
    "Status",
    "Tenant",
    "Ticket",
    "Trigger",
    "Url",
    "UrlAuth",
    "Webhook",
    "__version__",
    "errors",
]

_HOMES = {
    "AsyncClient": "sandlot.aio",
    "AsyncFunctionHandle": "sandlot.aio",
    "AsyncTicket": "sandlot.aio",
    "Client": "sandlot.client",
    "FunctionHandle": "sandlot.client",
    "Bucket": "sandlot.triggers",
    "Directory": "sandlot.triggers",
    "MissedRuns": "sandlot.triggers",
    "NewTrigger": "sandlot.triggers",
    "Schedule": "sandlot.triggers",
    "ScheduleProgress": "sandlot.triggers",
    "Scheme": "sandlot.triggers",
    "Trigger": "sandlot.triggers",
    "Webhook": "sandlot.triggers",
    "Ticket": "sandlot.client",
}
"""Where a name lives, if not in `sandlot.results`."""


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":
        return import_module("sandlot.errors")
    if name not in __all__:
        raise AttributeError(f"module 'sandlot' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "sandlot.results")), name)


def __dir__() -> list[str]:
    return __all__
