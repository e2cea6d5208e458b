"""When something was said on stderr, where nobody else notes that."""

import functools
import os
import time

_STDERR = 2

FROM_PARENT = ("JOURNAL_STREAM", "TZ")
"""Variables that whoever starts a process of ours hands on for this."""


def stamp(moment: float | None = None) -> str:
    """What a line begins with: local time, now if not told otherwise. Empty where
    systemd's journal reads us, which has times of its own."""
    if _is_journal():
        return ""
    at = time.time() if moment is None else moment
    told = time.localtime(at)
    day, zone = time.strftime("%Y-%m-%dT%H:%M:%S", told), time.strftime("%z", told)
    return f"{day}.{int(at % 1 * 1000):03d}{zone} "


@functools.cache
def _is_journal() -> bool:
    """See systemd.exec(5): the variable is there also for who writes elsewhere."""
    try:
        ours = os.fstat(_STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{ours.st_dev}:{ours.st_ino}"
