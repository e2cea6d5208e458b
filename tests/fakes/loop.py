"""Time that goes on when it is told to, and the timers of a loop."""

from collections.abc import Callable


class Timer:
    def __init__(self, rings_at: float, call: Callable[[], None]) -> None:
        self._rings_at, self.call, self.is_cancelled = rings_at, call, False

    def when(self) -> float:
        return self._rings_at

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """Of an event loop, what is asked for a time or a timer."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    monotonic = time

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + delay_s, call))
        return self.timers[-1]

    def pass_by(self, seconds: float) -> None:
        """Each timer rings when it is due, also one that is set meanwhile."""
        until = self.now + seconds
        while (timer := self._next()) is not None and timer.when() <= until:
            self.timers.remove(timer)
            self.now = max(self.now, timer.when())
            timer.call()
        self.now = until

    @property
    def running(self) -> int:
        return sum(not timer.is_cancelled for timer in self.timers)

    def _next(self) -> Timer | None:
        timers = [timer for timer in self.timers if not timer.is_cancelled]
        return min(timers, key=Timer.when, default=None)
