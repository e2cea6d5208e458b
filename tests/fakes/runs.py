"""An invocation, and the run that answered it."""

from datetime import UTC, datetime

from sandlot_engine.model.function import Revision
from sandlot_engine.model.invocation import (
    Ended,
    Invocation,
    Run,
)
from tests.fakes.functions import make_function

ID = "8f5a1c9e-0000-4000-8000-000000000001"

ENDED = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)

INVOCATION = Invocation(
    request_id=ID,
    tenant_id="111111111111",
    function="f",
    payload=b"{}",
    tail_log=True,
    arrived=0.0,
)

RAN = Run(ended=Ended.ANSWERED, duration_s=0.00301, wait_s=0.0, max_memory_mb=36)


def revision(**config: int) -> Revision:
    serving = make_function("111111111111", "f", **config).serving
    assert serving is not None
    return serving
