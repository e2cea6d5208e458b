"""Ctrl-C, SIGTERM and SIGHUP, taken to where they can be borne.

An exception in the middle of gRPC's own code can leave its locks taken, and the channel
could then never be closed. So a signal asks the engine to end, which begins nothing new
from then on, and the exception is raised between two steps.
"""

import signal
import sys
from types import FrameType, TracebackType
from typing import Self

from sandlot.proof.engine import Engine

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Whether one came. A context manager, for the main thread."""

    def __init__(self) -> None:
        self._number = 0
        self._engine: Engine | None = None
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    def ends(self, engine: Engine) -> None:
        """From now on, the engine that is to end."""
        self._engine = engine
        if self._number:
            engine.terminate()

    def check(self) -> None:
        """Raises `KeyboardInterrupt` or `SystemExit` if there was one."""
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number:
            sys.exit(128 + self._number)

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._number = self._number or number
        if self._engine is not None:
            self._engine.terminate()
