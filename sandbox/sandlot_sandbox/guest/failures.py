"""What went wrong in the tenant's code: a value, a payload and a log line.

The exception may be hostile: its `__str__` raises, its message is a gigabyte, its
class lies about its name, its trace has a million frames. Whatever it is, we end
with a bounded `Failure` that encodes to valid JSON.

`traceback` and `tokenize` are imported here, before any tenant path is searched:
`linecache` would otherwise import a tenant's own `tokenize.py` in their place.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tokenize  # noqa: F401  (see above: linecache imports it late)
import traceback
from itertools import islice

TYPE_CHECKING = False  # `typing` costs a cold start milliseconds; mypy knows the name.
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any

MAX_MESSAGE_CHARS = 128 * 1024
MAX_TYPE_BYTES = 256
"""The room for an error type in an answer's frame."""

MAX_FRAMES = 2_000
"""Frames looked at. More than the default recursion limit, so that a plain endless
recursion still folds into "[Previous line repeated 994 more times]"."""

MAX_ENTRIES = 200
"""Entries kept after folding. A character takes up to twelve bytes when escaped, and
even then message and entries together fit into an answer."""

MAX_ENTRY_CHARS = 1_500

NO_BREAK_SPACE = "\u00a0"
STDOUT_FD = 1

# `type(x).__name__` would ask a metaclass, which is tenant code and need not answer
# with a string. The slot of `type` itself always does.
_class_name = type.__dict__["__name__"].__get__

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Failure:
    """How the tenant's code failed, in AWS's terms. Every part is bounded."""

    __slots__ = ("error_type", "message", "stack_trace")

    def __init__(
        self, error_type: str, message: str, stack_trace: Iterable[str] = ()
    ) -> None:
        self.error_type = _short_name(error_type)
        self.message = _bounded(message, MAX_MESSAGE_CHARS)
        self.stack_trace = [_bounded(entry, MAX_ENTRY_CHARS) for entry in stack_trace]

    def __repr__(self) -> str:
        return f"<Failure {self.error_type}: {self.message[:200]!r}>"


def failure_of(error: BaseException) -> Failure:
    """The failure AWS reports for an exception: class name, text and tenant frames."""
    return Failure(name_of(error), text_of(error), trace_of(error))


def error_payload(failure: Failure, request_id: str) -> bytes:
    """The error object a caller receives. `request_id` is "" during init."""
    return to_json_bytes(
        {
            "errorMessage": failure.message,
            "errorType": failure.error_type,
            "requestId": request_id,
            "stackTrace": failure.stack_trace,
        }
    )


class _Log:
    is_json = False


def use_json_log(*, is_json: bool) -> None:
    """From now on failures are printed as AWS's JSON format has them, or as text."""
    _Log.is_json = is_json


def print_failure(failure: Failure, request_id: str = "") -> None:
    """Write AWS's `[ERROR]` entry to standard output; never raises an Exception."""
    line = json_line(failure, request_id) if _Log.is_json else log_line(failure)
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except Exception:  # noqa: BLE001  (sys.stdout is whatever the tenant made of it)
        _write_to_descriptor(line)


def json_line(failure: Failure, request_id: str) -> str:
    """The same, in the JSON format."""
    entry = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "log_level": "ERROR",
        "errorMessage": failure.message,
        "errorType": failure.error_type,
        "requestId": request_id,
        "stackTrace": failure.stack_trace,
    }
    return to_json_bytes(entry).decode() + "\n"


def log_line(failure: Failure) -> str:
    r"""One log entry: its lines end in \r, so that collectors keep them together."""
    lines = [_headline(failure), "Traceback (most recent call last):"]
    for entry in failure.stack_trace:
        lines += [_indented(line) for line in entry.splitlines()] or [""]
    return "\r".join(lines) + "\n"


# The parts of an exception -----------------------------------------------------


def name_of(error: BaseException) -> str:
    """The bare class name, whatever a metaclass would say."""
    name: str = _class_name(type(error))
    return name


def text_of(error: BaseException) -> str:
    """`str(error)`, or what the traceback module says when that fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (__str__ is tenant code)
        return f"<exception str() failed: {name_of(error)}>"


def trace_of(error: BaseException) -> list[str]:
    """The formatted trace from the first frame that is not the runtime's own."""
    try:
        frames = _frames(error.__traceback__)
        own = 0
        while own < len(frames) and frames[own][0].startswith(_HERE):
            own += 1
        # From plain tuples, as AWS does it: no ^^^^ lines below the source.
        return _cut(traceback.format_list(frames[own:]))
    except Exception:  # noqa: BLE001  (source lines come from tenant-made loaders)
        return []


def _frames(trace: TracebackType | None) -> list[tuple[str, Any, str, str]]:
    if trace is None:
        return []
    # Bounded at both ends: who called, and what failed.
    half = MAX_FRAMES // 2
    found = list(traceback.extract_tb(trace, limit=MAX_FRAMES))
    if len(found) == MAX_FRAMES and _is_longer_than(trace, MAX_FRAMES):
        found = found[:half] + list(traceback.extract_tb(trace, limit=-half))
    return [(f.filename, f.lineno, f.name, f.line or "") for f in found]


def _is_longer_than(trace: TracebackType, limit: int) -> bool:
    return any(True for _ in islice(traceback.walk_tb(trace), limit, None))


def _cut(entries: list[str]) -> list[str]:
    if len(entries) <= MAX_ENTRIES:
        return entries
    half = MAX_ENTRIES // 2
    left_out = f"  [{len(entries) - 2 * half} entries left out]\n"
    return [*entries[:half], left_out, *entries[-half:]]


# Text --------------------------------------------------------------------------


def to_json_bytes(value: object) -> bytes:
    """JSON as AWS's runtime of this Python version writes it, as UTF-8.

    From 3.12 on characters are not escaped. A lone surrogate has no UTF-8, so a
    value that holds one is escaped in every version.
    """
    if sys.version_info >= (3, 12):
        try:
            return json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            pass
    return json.dumps(value).encode()


def _bounded(text: str, limit: int) -> str:
    # Unbound: a str subclass may slice itself in its own way. The result is a
    # plain str in any case.
    if str.__len__(text) <= limit:
        return str.__getitem__(text, slice(None))
    return str.__getitem__(text, slice(limit)) + "... (truncated)"


def _short_name(name: str) -> str:
    return name.encode("utf-8", "replace")[:MAX_TYPE_BYTES].decode("utf-8", "ignore")


def _headline(failure: Failure) -> str:
    headline = "[ERROR]"
    if failure.error_type:
        headline += " " + failure.error_type
    if failure.message:
        headline += (":" if failure.error_type else "") + " " + failure.message
    return headline


def _indented(line: str) -> str:
    # Log collectors strip or split at leading spaces; no-break spaces survive.
    text = line.lstrip(" ")
    return NO_BREAK_SPACE * (len(line) - len(text)) + text


def _write_to_descriptor(line: str) -> None:
    try:
        os.write(STDOUT_FD, line.encode("utf-8", "backslashreplace"))
    except OSError:
        # Closed by the tenant: nobody is left to tell, and the caller of the
        # invocation receives the same failure as its answer.
        return
