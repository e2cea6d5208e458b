"""Values to test with; each takes the fields that the test is about."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sandlot_engine.model.function import (
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    Revision,
)
from sandlot_engine.model.invocation import LogLine, LogSource, Record, Report, Status
from sandlot_engine.model.tenant import AccessKey, Tenant

NOON = datetime(2025, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)

CONFIG = FunctionConfig(
    handler="app.handler", runtime="python3.11", environment={"LANG": "ü"}
)


def revision(id_: str = "rev-1", *, sha256: str = "aa") -> Revision:
    code = Code(sha256=sha256, size=10, unpacked_size=20)
    return Revision(id=id_, code=code, config=CONFIG)


def function(name: str = "resize", *, tenant_id: str = "1", **fields: Any) -> Function:
    active = Function(
        tenant_id=tenant_id,
        name=name,
        revision_id="rev-1",
        serving=revision(),
        pending=None,
        state=FunctionState.ACTIVE,
        last_modified=NOON,
    )
    return replace(active, **fields)


def tenant(id_: str = "000000000007") -> Tenant:
    return Tenant(id=id_, name="acme", concurrency=10, created=NOON)


def key(id_: str = "AKIA1", *, tenant_id: str = "000000000007") -> AccessKey:
    return AccessKey(id=id_, tenant_id=tenant_id, is_operator=False, created=NOON)


def record(
    request_id: str = "r-1",
    *,
    function: str = "resize",
    tenant_id: str = "1",
    time: datetime = NOON,
    memory_mb: int = 128,
    billed_ms: int = 3,
) -> Record:
    return Record(
        request_id=request_id,
        tenant_id=tenant_id,
        function=function,
        version="$LATEST",
        time=time,
        status=Status.OK,
        error_type="",
        report=Report(
            duration_ms=2.125,
            init_ms=None,
            wait_ms=0.5,
            billed_ms=billed_ms,
            memory_mb=memory_mb,
            max_memory_used_mb=40,
        ),
    )


def line(text: bytes, *, time: datetime = NOON) -> LogLine:
    return LogLine(time=time, request_id="r-1", source=LogSource.FUNCTION, text=text)
