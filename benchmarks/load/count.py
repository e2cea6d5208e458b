"""What came of a load, while it counted."""

SHOWN = 300
"""Bytes of the first failure that are shown."""

MAX_FAILURES = 10_000
"""With more than that it is over."""


class Count:
    """Answers and failures, of all connections together."""

    def __init__(self) -> None:
        self.is_counting = False
        self.is_over = False
        self.latencies_s: list[float] = []
        self.failures = 0
        self.first_failure = b""

    def answered(self, took_s: float) -> None:
        if self.is_counting:
            self.latencies_s.append(took_s)

    def failed(self, what: bytes) -> None:
        self.failures += 1
        self.first_failure = self.first_failure or what[:SHOWN]
        if self.failures > MAX_FAILURES:
            self.is_over = True
