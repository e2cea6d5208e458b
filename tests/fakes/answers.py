"""First answers, as a store keeps them."""

from datetime import UTC, datetime, timedelta

from sandlot_engine.store.ports import KeptAnswer

NOW = datetime(2026, 5, 17, 12, 30, 0, 123_456, tzinfo=UTC)

LONG_AGO = NOW - timedelta(days=365)


def answer(
    key: bytes = b"k",
    *,
    tenant_id: str = "1",
    function: str = "f",
    body: bytes = b"body",
    time: datetime = NOW,
) -> KeptAnswer:
    return KeptAnswer(
        tenant_id=tenant_id,
        function=function,
        key=key,
        request=b"r",
        time=time,
        body=body,
    )
