"""How often a thing may be done: buckets of tokens, by whose they are. Pure: time is an
argument, in seconds of one clock."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float
    fills_s: float
    """How long an empty one takes to be full."""


class Rates:
    """Buckets that are full when they are first used, and forgotten when they are full
    again: so there are no more than have been used within the time that one takes."""

    def __init__(self) -> None:
        # The one that was used least recently first.
        self._buckets: dict[object, _Bucket] = {}

    def __repr__(self) -> str:
        return f"<Rates of {len(self._buckets)}>"

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: object, now: float, *, per_s: float, burst: float) -> float:
        """Take a token. Returns 0, or in how many seconds there will be one: then none
        was taken.

        `per_s` tokens come in a second, `burst` are there at most; both are above 0,
        and may be others than the last time.
        """
        fills_s = burst / per_s
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            self._forget_full(now)
            bucket = _Bucket(burst, now, fills_s)
        self._buckets[key] = bucket
        passed_s = max(0.0, now - bucket.at)
        bucket.level = min(burst, bucket.level + passed_s * per_s)
        bucket.at, bucket.fills_s = now, fills_s
        # Less than one could never be taken; and a sum of floats is never quite one.
        needed = min(1.0, burst) - _TOLERANCE
        if bucket.level < needed:
            return (needed - bucket.level) / per_s + _TOLERANCE
        bucket.level -= 1.0
        return 0.0

    def take_share(self, key: object, *, divisor: int) -> int:
        """Take tokens ahead: of those that there were when the last one was taken, the
        whole divided by this. How many."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0
        count = int(bucket.level) // divisor
        bucket.level -= count
        return count

    def give_back(self, key: object, count: int = 1) -> None:
        """Tokens that were not needed after all."""
        if (bucket := self._buckets.get(key)) is not None:
            bucket.level += count

    def _forget_full(self, now: float) -> None:
        # Two for each that is added: so they never become more than are in use.
        for _ in range(2):
            key = next(iter(self._buckets), None)
            if key is None or now - self._buckets[key].at < self._buckets[key].fills_s:
                return
            del self._buckets[key]


_TOLERANCE = 1e-9
