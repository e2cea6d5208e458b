"""Text that tenants wrote, made harmless for a terminal.

A terminal obeys escape sequences: they can hide, overwrite and forge what an operator
reads, and in some terminals do worse. Characters that print nothing are therefore
shown as `\\u001b`, a form that is also JSON's, so that an escaped answer still
decodes to the same value.
"""

import re
from datetime import datetime
from decimal import Decimal

# C0 and C1 controls and DEL; line and paragraph separators; marks that turn the
# direction of text or have no width; halves of surrogate pairs, which cannot be
# encoded at all.
_SILENT = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff"
)
_SILENT_IN_BLOCK = re.compile(f"[{_SILENT}]")
_SILENT_IN_LINE = re.compile(f"[\n{_SILENT}]")


def block(text: str) -> str:
    """Text of several lines; only newlines and tabs stay as they are."""
    return _SILENT_IN_BLOCK.sub(_escaped, text)


def one_line(text: str) -> str:
    """Text that must not begin a line of its own."""
    return _SILENT_IN_LINE.sub(_escaped, text)


def message(text: str) -> str:
    """What went wrong, with its further lines so far to the right that none of them is
    taken for one of ours."""
    return "\n      ".join(map(one_line, text.rstrip().split("\n")))


def logged(text: str, *, indent: str = "") -> str:
    """A line of a log, on as many as it was made of, each below the first indented.

    Python's runtime, as AWS's, joins the lines of a traceback by carriage returns, so
    that they are one line of the log.
    """
    return f"\n{indent}".join(map(one_line, text.rstrip("\r").split("\r")))


def logged_block(text: str) -> str:
    """The same of several lines."""
    return "\n".join(map(logged, text.split("\n")))


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def dollars(amount: Decimal) -> str:
    """Rounded here and nowhere before, to a billionth."""
    return f"${amount:.9f}"


def size(count: int) -> str:
    """Bytes for people: `1.1 kB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def minute(when: datetime) -> str:
    """In local time, as all times for people are: those of logs, and of lists."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def second(when: datetime) -> str:
    """The same, to the second."""
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


def with_zone(when: datetime) -> str:
    """The same, and whose time it is, where there is room for it."""
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def short(request_id: str) -> str:
    """The beginning of a request id, enough to find it again by eye."""
    return f"{one_line(request_id)[:8]}…" if request_id else "-"
