"""What calls return: frozen values that know nothing of the wire.

Durations end in `_ms`, sizes in `_mb`; times are aware datetimes, UTC.
"""

from sandlot.results.concurrency import (
    Concurrency,
    ProvisionedConcurrency,
    ProvisionStatus,
)
from sandlot.results.events import Event, EventAttempt, EventSettings, EventState
from sandlot.results.functions import (
    NO_IMPORT,
    Function,
    FunctionState,
    InitMode,
    Network,
    UpdateStatus,
)
from sandlot.results.invocations import (
    JSON,
    LogLine,
    LogSource,
    MapResult,
    Reply,
    Report,
    Run,
    Status,
)
from sandlot.results.layers import LayerVersion
from sandlot.results.permissions import Condition, Permission
from sandlot.results.tenants import (
    Bill,
    BillLine,
    EngineStatus,
    IsolationLayer,
    Key,
    NewKey,
    Runtime,
    Tenant,
)
from sandlot.results.urls import Cors, Url, UrlAuth
from sandlot.results.versions import Alias

__all__ = [
    "JSON",
    "NO_IMPORT",
    "Alias",
    "Bill",
    "BillLine",
    "Concurrency",
    "Condition",
    "Cors",
    "EngineStatus",
    "Event",
    "EventAttempt",
    "EventSettings",
    "EventState",
    "Function",
    "FunctionState",
    "InitMode",
    "IsolationLayer",
    "Key",
    "LayerVersion",
    "LogLine",
    "LogSource",
    "MapResult",
    "Network",
    "NewKey",
    "Permission",
    "ProvisionStatus",
    "ProvisionedConcurrency",
    "Reply",
    "Report",
    "Run",
    "Runtime",
    "Status",
    "Tenant",
    "UpdateStatus",
    "Url",
    "UrlAuth",
]
