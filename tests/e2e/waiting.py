"""Waiting for what no event tells us: with a deadline, and a sentence if it passes."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

DEADLINE_S = 30.0
"""Far more than anything here needs, so that a busy machine fails no test."""

_LOOK_EVERY_S = 0.01


def wait_until(
    look: Callable[[], T],
    what: str,
    *,
    deadline_s: float = DEADLINE_S,
    shown: Callable[[], object] = lambda: "",
) -> T:
    """Look until what is seen is true, and return it; `shown` is for the failure."""
    until = time.monotonic() + deadline_s
    pause = threading.Event()
    while not (seen := look()):
        if time.monotonic() > until:
            pytest.fail(f"not within {deadline_s:g} s: {what} {shown()}")
        pause.wait(_LOOK_EVERY_S)
    return seen
