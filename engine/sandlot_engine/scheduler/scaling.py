"""How fast a function may grow: new instances of it, within a time."""

from sandlot_engine.errors import Throttled
from sandlot_engine.rates import Rates

SCALING = 1_000
"""New instances of one function within `SCALING_S`, as on AWS Lambda: they come back
one by one, and no more are saved up. Those that were started ahead count when they are
first used, if they are not kept."""

SCALING_S = 10.0


class Scaling:
    """Of all functions. `most` within `SCALING_S`; with 0, as many as they like."""

    def __init__(self, most: int = SCALING) -> None:
        self._most = most
        self._rates = Rates()

    def take(self, tenant_id: str, function: str, now: float) -> None:
        """One more. Raises `Throttled` where it has had all of them."""
        if not self._most:
            return
        wait_s = self._rates.take(
            (tenant_id, function),
            now,
            per_s=self._most / SCALING_S,
            burst=float(self._most),
        )
        if wait_s:
            raise Throttled(
                f"function {function!r} has had {self._most} new instances within"
                f" {SCALING_S:g} s, and none that is there is free: no more are started"
                " so fast. Nothing ran; send it again later",
                reason="ConcurrentInvocationLimitExceeded",
                limit=self._most,
                retry_after_s=wait_s,
            )

    def give_back(self, tenant_id: str, function: str) -> None:
        """It was not needed after all."""
        self._rates.give_back((tenant_id, function))
