"""How soon a tenant hears that it is throttled.

To refuse a call costs nearly what it costs to take one in, and that grpc does for all
tenants one after another: who sends far more than its share, and is told so at once,
sends the next. So of one tenant's refusals only so many a second leave at once; the
others wait for their turn. Meanwhile they count as open calls, of which a connection
may have so many (`server.MAX_STREAMS`): then its client sends no more of them.
"""

PER_S = 400.0
"""Refusals of one tenant a second, once it has used up its `AT_ONCE`."""

AT_ONCE = 400
"""So many are not kept waiting, if it was not refused before."""

MAX_WAIT_S = 5.0
"""No refusal waits longer: whoever would has too many open, and hears it at once."""

_MAX_KNOWN = 1_024
"""Tenants that are kept in mind; beyond, those are forgotten that have all of their
`AT_ONCE` again."""


class Pace:
    """Of all tenants' refusals. Pure: `now` is any clock's that only goes forward."""

    def __init__(self) -> None:
        self._used_until: dict[str, float] = {}
        """When a tenant will have all of its `AT_ONCE` again."""

    def wait_s(self, tenant_id: str, now: float) -> float:
        """How long its next refusal is to be kept; 0 for not at all."""
        if len(self._used_until) >= _MAX_KNOWN and tenant_id not in self._used_until:
            self._forget(now)
        until = max(now, self._used_until.get(tenant_id, now)) + 1 / PER_S
        wait_s = until - now - AT_ONCE / PER_S
        if wait_s > MAX_WAIT_S:
            return 0.0
        self._used_until[tenant_id] = until
        return max(0.0, wait_s)

    def _forget(self, now: float) -> None:
        for tenant_id in [t for t, until in self._used_until.items() if until <= now]:
            del self._used_until[tenant_id]
