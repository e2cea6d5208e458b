"""What came of a load, while it counted."""

import asyncio

SHOWN = 300
"""Bytes of the first failure that are shown."""

MAX_FAILURES = 10_000
"""With more than that it is over."""


class Count:
    """Answers and failures, of all connections together."""

    def __init__(self, wanted: int) -> None:
        self.is_enough = asyncio.Event()
        """So many answers as are wanted have been counted."""

        self._wanted = wanted
        self.is_counting = False
        self.is_over = False
        self.latencies_s: list[float] = []
        self.failures = 0
        self.first_failure = b""

    def answered(self, took_s: float) -> None:
        if self.is_counting:
            self.latencies_s.append(took_s)
            if len(self.latencies_s) == self._wanted:
                self.is_enough.set()

    def failed(self, what: bytes) -> None:
        self.failures += 1
        self.first_failure = self.first_failure or what[:SHOWN]
        if self.failures > MAX_FAILURES:
            self.is_over = True
