"""Who may run how much at once: a count per tenant, and nothing that waits."""

from sandlot_engine.errors import Throttled

RETRY_AFTER_S = 1.0
"""What a throttled caller is told. Nobody knows when a slot becomes free; a second
is long enough not to be a storm and short enough not to be an outage."""


class Admission:
    """Counts each tenant's running invocations against its concurrency.

    What `admit` took, `release` must give back, on every way out.
    """

    def __init__(self) -> None:
        self._running: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Admission {sum(self._running.values())} running>"

    def running(self, tenant_id: str) -> int:
        """How many invocations of a tenant run now."""
        return self._running.get(tenant_id, 0)

    def admit(self, tenant_id: str, *, limit: int) -> None:
        """Take a slot, or raise `Throttled` where `limit` of them are taken."""
        running = self._running.get(tenant_id, 0)
        if running >= limit:
            raise Throttled(
                f"tenant {tenant_id!r} already has {running} invocations running "
                f"of {limit} allowed",
                reason="ConcurrentInvocationLimitExceeded",
                limit=limit,
                retry_after_s=RETRY_AFTER_S,
            )
        self._running[tenant_id] = running + 1

    def release(self, tenant_id: str) -> None:
        """Give a slot back. Tenants without any are forgotten, so idle ones cost
        no memory."""
        running = self._running[tenant_id] - 1
        if running:
            self._running[tenant_id] = running
        else:
            del self._running[tenant_id]
