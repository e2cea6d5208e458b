"""Who may run how much at once: counts by tenant and function, and nothing that waits.

A tenant has so much concurrency, and may reserve some of it for a function: that many
of its invocations can run, whatever the others do, and no more. What is reserved for
nobody is for all functions without a share of their own.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sandlot_engine.errors import Throttled

RETRY_AFTER_S = 1.0
"""What a throttled caller is told. Nobody knows when a slot becomes free; a second
is long enough not to be a storm and short enough not to be an outage."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


class Admission:
    """Counts running invocations against what their tenants and functions may have.

    What `admit` took, `release` must give back, on every way out.
    """

    def __init__(self) -> None:
        self._running: dict[str, dict[str, int]] = {}
        """By tenant and function."""
        self._totals: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Admission {self.total} running>"

    @property
    def total(self) -> int:
        """How many invocations run now."""
        return sum(self._totals.values())

    def running(self, tenant_id: str) -> int:
        """How many invocations of a tenant run now."""
        return self._totals.get(tenant_id, 0)

    def running_of(self, tenant_id: str, function: str) -> int:
        """How many of one function, in all its versions."""
        return self._running.get(tenant_id, {}).get(function, 0)

    def admit(
        self,
        tenant_id: str,
        function: str,
        *,
        limit: int,
        reserved: Mapping[str, int] = _NOTHING,
    ) -> None:
        """Take a slot, or raise `Throttled` where there is none.

        `limit` is the tenant's, and holds even where more is reserved: it may have
        been lowered since. `reserved` has the functions with a share of their own.
        """
        if function in reserved:
            self._check_share(tenant_id, function, share=reserved[function])
            self._check_total(tenant_id, limit=limit)
        else:
            self._check_total(tenant_id, limit=limit)
            self._check_rest(tenant_id, limit=limit, reserved=reserved)
        self.keep(tenant_id, function)

    def keep(self, tenant_id: str, function: str) -> None:
        """Take a slot without asking: for what goes on after the answer of somebody
        who is about to give one back."""
        functions = self._running.setdefault(tenant_id, {})
        functions[function] = functions.get(function, 0) + 1
        self._totals[tenant_id] = self._totals.get(tenant_id, 0) + 1

    def release(self, tenant_id: str, function: str) -> None:
        """Give a slot back. Tenants and functions without any are forgotten, so idle
        ones cost no memory."""
        functions = self._running[tenant_id]
        _count_down(functions, function)
        _count_down(self._totals, tenant_id)
        if not functions:
            del self._running[tenant_id]

    def _check_share(self, tenant_id: str, function: str, *, share: int) -> None:
        running = self.running_of(tenant_id, function)
        if running >= share:
            raise _throttled(
                f"function {function!r} already has {running} invocations running "
                f"of {share} reserved for it",
                share,
                reason="ReservedFunctionConcurrentInvocationLimitExceeded",
            )

    def _check_total(self, tenant_id: str, *, limit: int) -> None:
        running = self.running(tenant_id)
        if running >= limit:
            raise _throttled(
                f"tenant {tenant_id!r} already has {running} invocations running "
                f"of {limit} allowed",
                limit,
            )

    def _check_rest(
        self, tenant_id: str, *, limit: int, reserved: Mapping[str, int]
    ) -> None:
        if not reserved:
            return
        functions = self._running.get(tenant_id, _NOTHING)
        taken = sum(count for name, count in functions.items() if name not in reserved)
        rest = max(0, limit - sum(reserved.values()))
        if taken >= rest:
            raise _throttled(
                f"tenant {tenant_id!r} already has {taken} invocations running of "
                f"{rest} allowed to functions without reserved concurrency: "
                f"{limit - rest} of its {limit} are reserved for others",
                rest,
            )


def _count_down(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _throttled(
    message: str, limit: int, *, reason: str = "ConcurrentInvocationLimitExceeded"
) -> Throttled:
    return Throttled(message, reason=reason, limit=limit, retry_after_s=RETRY_AFTER_S)
