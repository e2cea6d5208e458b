"""Who may run how much at once, and how often: counts, and nothing that waits.

A tenant has so much concurrency. It may reserve some of it for a function: that many of
its invocations can run, whatever the others do, and no more. It may have some
provisioned for a version: that is the version's alone, out of what is reserved for its
function, or else out of what all have. What is neither is for all functions without a
share of their own. Each share is good for so many invocations a second, too.
"""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from sandlot_engine.errors import Throttled
from sandlot_engine.rates import Rates

RETRY_AFTER_S = 1.0
"""What a throttled caller is told. Nobody knows when a slot becomes free; a second
is long enough not to be a storm and short enough not to be an outage."""

REQUESTS_PER_SLOT = 10
"""Invocations a second for each that may run at once, as on AWS Lambda."""

AHEAD_DIVISOR = 16
"""Who takes a slot for many invocations takes this part of what may still be within the
second, so that others find some."""

Claims = Mapping[str, Mapping[str, int]]
"""What is provisioned, by function and revision."""

_NOTHING: Mapping[str, int] = MappingProxyType({})
_NO_CLAIMS: Claims = MappingProxyType({})


class Slot(Struct, frozen=True):
    """What an invocation that was admitted has taken."""

    tenant_id: str
    function: str
    revision: str = ""
    """Whose provisioned concurrency it is; empty where it is on demand."""

    is_spillover: bool = False
    """On demand, because all of what is provisioned for its revision is in use."""

    rate: object = None
    """The bucket that it was counted against; None where it was not."""


class Admission:
    """Counts running invocations against what their tenants and functions may have.

    The slot that `admit` returns must be given to `release`, on every way out.
    `requests_per_slot`: see `REQUESTS_PER_SLOT`; 0 where they are not counted.
    """

    def __init__(self, *, requests_per_slot: int = REQUESTS_PER_SLOT) -> None:
        self._requests_per_slot = requests_per_slot
        self._rates = Rates()
        self._on_demand: dict[str, dict[str, int]] = {}
        """By tenant and function, without those on what is provisioned."""
        self._provisioned: dict[str, dict[str, int]] = {}
        """By tenant and revision."""
        self._totals: dict[str, int] = {}
        self.provisioned = 0
        """Invocations on what is provisioned, so far."""
        self.spilled = 0
        """Invocations for which all of it was in use, so far."""

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
        """How many of one function on demand, in all its versions."""
        return self._on_demand.get(tenant_id, {}).get(function, 0)

    def provisioned_of(self, tenant_id: str, revision: str) -> int:
        """How many of one revision on what is provisioned for it."""
        return self._provisioned.get(tenant_id, {}).get(revision, 0)

    def admit(
        self,
        tenant_id: str,
        function: str,
        *,
        limit: int,
        reserved: Mapping[str, int] = _NOTHING,
        claims: Claims = _NO_CLAIMS,
        revision: str = "",
        now: float | None = None,
    ) -> Slot:
        """Take a slot, or raise `Throttled` where there is none.

        `limit` is the tenant's, and holds even where more is reserved: it may have
        been lowered since. `reserved` has the functions with a share of their own,
        `claims` what of them is provisioned. At `now` it counts against a rate; None
        for events, which have none.
        """
        share = claims.get(function, _NOTHING).get(revision, 0)
        if self.provisioned_of(tenant_id, revision) < share:
            slot = self._provisioned_slot(tenant_id, function, revision, share, now)
            if slot is not None:
                self.check_total(tenant_id, limit=limit)
                return self._take(slot)
        if function in reserved:
            key, slots = self._check_share(
                tenant_id, function, reserved[function], claims
            )
            self.check_total(tenant_id, limit=limit)
        else:
            self.check_total(tenant_id, limit=limit)
            key, slots = self._check_rest(tenant_id, limit, reserved, claims)
        if now is not None:
            self._check_rate(key, slots, now)
        return self._take(
            Slot(
                tenant_id,
                function,
                is_spillover=share > 0,
                rate=None if now is None else key,
            )
        )

    def check_total(self, tenant_id: str, *, limit: int) -> None:
        """Raise `Throttled` where none of a tenant's functions gets a slot."""
        running = self.running(tenant_id)
        if running >= limit:
            raise _throttled(
                f"tenant {tenant_id!r} already has {running} invocations running "
                f"of {limit} allowed",
                limit,
            )

    def take_ahead(self, slot: Slot, *, most: int) -> int:
        """For how many invocations more, one after another, a slot is good: they count
        now. Those that were not run, `give_ahead` takes back."""
        if slot.rate is None or not self._requests_per_slot:
            return most
        return self._rates.take_share(slot.rate, divisor=AHEAD_DIVISOR)

    def give_ahead(self, slot: Slot, count: int) -> None:
        """See `take_ahead`."""
        if slot.rate is not None:
            self._rates.give_back(slot.rate, count)

    def note_use(self, slot: Slot, times: int = 1) -> None:
        """A slot that is good for more than one invocation has had so many."""
        self.provisioned += bool(slot.revision) * times
        self.spilled += slot.is_spillover * times

    def keep(self, tenant_id: str, function: str) -> Slot:
        """Take a slot without asking: for what goes on after the answer of somebody
        who is about to give one back."""
        return self._take(Slot(tenant_id, function))

    def release(self, slot: Slot) -> None:
        """Give a slot back. Tenants and functions without any are forgotten, so idle
        ones cost no memory."""
        key = slot.revision or slot.function
        counts = self._provisioned if slot.revision else self._on_demand
        _count_down(counts[slot.tenant_id], key)
        if not counts[slot.tenant_id]:
            del counts[slot.tenant_id]
        _count_down(self._totals, slot.tenant_id)

    def _take(self, slot: Slot) -> Slot:
        counts = self._provisioned if slot.revision else self._on_demand
        mine = counts.setdefault(slot.tenant_id, {})
        key = slot.revision or slot.function
        mine[key] = mine.get(key, 0) + 1
        self._totals[slot.tenant_id] = self._totals.get(slot.tenant_id, 0) + 1
        self.provisioned += bool(slot.revision)
        self.spilled += slot.is_spillover
        return slot

    # --- shares -------------------------------------------------------------------

    def _provisioned_slot(
        self,
        tenant_id: str,
        function: str,
        revision: str,
        share: int,
        now: float | None,
    ) -> Slot | None:
        """None where it has to be on demand, because these are asked too often."""
        if now is not None and self._wait_s((tenant_id, revision), share, now):
            return None
        rate = None if now is None else (tenant_id, revision)
        return Slot(tenant_id, function, revision, rate=rate)

    def _check_share(
        self, tenant_id: str, function: str, share: int, claims: Claims
    ) -> tuple[object, int]:
        """What it counts against, and how much that is."""
        provisioned = sum(claims.get(function, _NOTHING).values())
        left = max(0, share - provisioned)
        running = self.running_of(tenant_id, function)
        if running >= left:
            less = f", {provisioned} of them for its versions" if provisioned else ""
            raise _throttled(
                f"function {function!r} already has {running} invocations running "
                f"of {share} reserved for it{less}",
                left,
                reason="ReservedFunctionConcurrentInvocationLimitExceeded",
            )
        return (tenant_id, "function", function), left

    def _check_rest(
        self, tenant_id: str, limit: int, reserved: Mapping[str, int], claims: Claims
    ) -> tuple[object, int]:
        """What it counts against, and how much that is."""
        key = (tenant_id, "rest")
        if not (reserved or claims):
            return key, limit
        functions = self._on_demand.get(tenant_id, _NOTHING)
        taken = sum(count for name, count in functions.items() if name not in reserved)
        others = sum(reserved.values()) + sum(
            sum(revisions.values())
            for name, revisions in claims.items()
            if name not in reserved
        )
        rest = max(0, limit - others)
        if taken >= rest:
            raise _throttled(
                f"tenant {tenant_id!r} already has {taken} invocations running of "
                f"{rest} allowed to functions without reserved concurrency: "
                f"{limit - rest} of its {limit} are reserved for others",
                rest,
            )
        return key, rest

    # --- rates --------------------------------------------------------------------

    def _check_rate(self, key: object, slots: int, now: float) -> None:
        wait_s = self._wait_s(key, slots, now)
        if wait_s:
            is_reserved = isinstance(key, tuple) and key[1] == "function"
            raise Throttled(
                f"more than {slots * self._requests_per_slot} invocations within a "
                f"second: {self._requests_per_slot} are allowed for each of the "
                f"{slots} that may run at once",
                reason="ReservedFunctionInvocationRateLimitExceeded"
                if is_reserved
                else "FunctionInvocationRateLimitExceeded",
                limit=slots * self._requests_per_slot,
                retry_after_s=wait_s,
            )

    def _wait_s(self, key: object, slots: int, now: float) -> float:
        """0 where it may be now: then that counts."""
        rate = float(slots * self._requests_per_slot)
        return self._rates.take(key, now, per_s=rate, burst=rate) if rate else 0.0


def _count_down(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _throttled(
    message: str, limit: int, *, reason: str = "ConcurrentInvocationLimitExceeded"
) -> Throttled:
    return Throttled(message, reason=reason, limit=limit, retry_after_s=RETRY_AFTER_S)
