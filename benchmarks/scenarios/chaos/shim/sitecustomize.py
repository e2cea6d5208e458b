"""Imported by every Python that is started with this folder on its path: in the engine
the calendar is as far ahead as a file says."""

import os
import sys

if "sandlot_engine.engine" in sys.orig_argv and "CHAOS_CLOCK" in os.environ:
    from datetime import UTC, datetime, timedelta
    from pathlib import Path

    from sandlot_engine import clock

    _file = Path(os.environ["CHAOS_CLOCK"])

    def _now(_: clock.SystemClock) -> datetime:
        try:
            ahead_s = float(_file.read_text())
        except (OSError, ValueError):
            ahead_s = 0.0
        return datetime.now(UTC) + timedelta(seconds=ahead_s)

    clock.SystemClock.now = _now  # type: ignore[method-assign, assignment]
