"""AWS's public prices, and the only place where units become money.

The ledger is integers (memory_mb x billed_ms). One millisecond at 128 MB is two
billionths of a dollar, so rounded prices of single invocations would add up
wrongly: sums are priced, prices are never summed, and nothing is rounded here.
"""

from decimal import Decimal

GB_SECOND = Decimal("0.0000166667")
"""Dollars for one second at 1024 MB, x86, first tier."""

REQUEST = Decimal("0.20") / 1_000_000
"""Dollars for one request."""

MB_MS_PER_GB_SECOND = 1024 * 1000


def gb_seconds(billed_mb_ms: int) -> Decimal:
    """The same amount in AWS's unit."""
    return Decimal(billed_mb_ms) / MB_MS_PER_GB_SECOND


def compute(billed_mb_ms: int) -> Decimal:
    """What the computing costs, in dollars."""
    return gb_seconds(billed_mb_ms) * GB_SECOND


def requests(invocations: int) -> Decimal:
    """What the requests cost, in dollars."""
    return invocations * REQUEST
