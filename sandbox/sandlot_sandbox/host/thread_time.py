"""How long this thread has worked on what it was asked.

When Python looks through all memory for cycles is chance: an engine with thousands of
instances takes a tenth of a second for it, in the midst of whatever it was at. Whoever
that was for has not asked for it.
"""

import gc
import threading
import time
from collections.abc import Mapping
from typing import Any

_OLDEST = 2


class _Collected(threading.local):
    began = took_s = 0.0


_collected = _Collected()


def thread_s() -> float:
    """Seconds of a processor; only the difference between two means something."""
    return time.thread_time() - _collected.took_s


def _note(phase: str, info: Mapping[str, Any]) -> None:
    # The younger ones are short, and come of what somebody has us make.
    if info["generation"] < _OLDEST:
        return
    if phase == "start":
        _collected.began = time.thread_time()
    else:
        _collected.took_s += time.thread_time() - _collected.began


gc.callbacks.append(_note)
