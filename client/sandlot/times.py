"""Points in time as people give them: `10m`, `2026-11-01`, a datetime, a timedelta."""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from sandlot.errors import UsageError

When: TypeAlias = datetime | timedelta | str

_AGO = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def point_in_time(
    when: When | None, *, now: datetime, is_local: bool = False
) -> datetime | None:
    """Durations count back from `now`; what has no time zone is UTC, or local time.

    Raises `UsageError` for text that is neither a duration nor ISO 8601.
    """
    match when:
        case None:
            return None
        case datetime():
            return _zoned(when, is_local=is_local)
        case timedelta():
            return now - when
        case str():
            return _zoned(_from_text(when, now=now), is_local=is_local)


def _zoned(when: datetime, *, is_local: bool) -> datetime:
    if when.tzinfo:
        return when
    return when.astimezone() if is_local else when.replace(tzinfo=UTC)


def _from_text(text: str, *, now: datetime) -> datetime:
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is not a time: write a duration such as 30s, 10m, 2h or 7d, or "
            "a date such as 2026-11-01 or 2026-11-01T09:30:00Z"
        ) from error
