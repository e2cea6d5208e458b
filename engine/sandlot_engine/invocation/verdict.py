"""How an invocation ended, in AWS's words: what the caller gets, and what its log says.

Pure. Texts, separators and the order of keys are what clients match on, so they are
AWS's to the letter.
"""

import json
import re
from typing import Final

from msgspec import Struct

from sandlot_engine.model.function import Revision
from sandlot_engine.model.invocation import (
    MAX_RESPONSE,
    Ended,
    Invocation,
    Run,
    Status,
)

CANCELLED: Final = "Sandbox.Cancelled"
"""Error type of an invocation whose caller went away: only records show it."""

TIMED_OUT: Final = "Sandbox.Timedout"


class Verdict(Struct, frozen=True):
    status: Status
    payload: bytes
    error_type: str = ""
    report_tail: str = ""
    """The end of the REPORT line, for failures that the platform noticed."""

    log_line: str = ""
    """Why it crashed, for its log: nothing else would say it there."""


def verdict_of(invocation: Invocation, revision: Revision, run: Run) -> Verdict:
    request_id = invocation.request_id
    match run.ended:
        case Ended.ANSWERED:
            return Verdict(Status.OK, run.payload, report_tail=_lost(run))
        case Ended.FAILED:
            error_type = plain(run.error_type)
            payload = run.payload or _error(error_type, request_id, "Unknown error")
            return Verdict(Status.ERROR, payload, error_type, _lost(run))
        case Ended.INIT_FAILED:
            error_type = plain(run.error_type)
            payload = run.payload or _error(error_type, request_id, "Unknown error")
            if _OF_PLATFORM.fullmatch(error_type) and (why := _message_of(payload)):
                # It was said without a request, and is told as what exits is.
                payload = _error(error_type, request_id, why)
            return _failed(Status.INIT_FAILED, payload, error_type)
        case Ended.TIMED_OUT | Ended.INIT_TIMED_OUT:
            timeout = f"Task timed out after {revision.config.timeout_s:.2f} seconds"
            error_type = TIMED_OUT
            payload = _error(error_type, request_id, timeout)
            return Verdict(Status.TIMEOUT, payload, error_type, "Status: timeout\t")
        case Ended.TOO_LARGE:
            return _failed(Status.ERROR, _RESPONSE_TOO_LARGE, _TOO_LARGE)
        case Ended.EXITED | Ended.SIGNALED | Ended.VIOLATION:
            error_type = plain(run.error_type or "Runtime.ExitError")
            why = _why_it_exited(run)
            payload = _error(error_type, request_id, why)
            told = _message(request_id, why)
            return _failed(Status.CRASHED, payload, error_type, log_line=told)
        case Ended.ABANDONED:
            payload = _error(CANCELLED, request_id, "The caller went away")
            return _failed(Status.CANCELLED, payload, CANCELLED)


def _failed(
    status: Status, payload: bytes, error_type: str, *, log_line: str = ""
) -> Verdict:
    tail = f"Status: error\tError Type: {error_type}\t"
    return Verdict(status, payload, error_type, tail, log_line)


_OF_PLATFORM: Final = re.compile(
    r"Runtime\.Invalid(?:Entrypoint|WorkingDir)|Extension\.\w+|Sandbox\.Failure"
)
"""What is said of a program that could not be started. A runtime that says the same of
itself is heard so, too."""

_MAX_SAID: Final = 65_536
"""Bytes of an error object that is looked into."""


def _message_of(payload: bytes) -> str:
    try:
        said = json.loads(payload[:_MAX_SAID])["errorMessage"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return said if isinstance(said, str) else ""


def _lost(run: Run) -> str:
    """Of what had its answer, and lost its instance while extensions worked on."""
    if not run.lost_because:
        return ""
    if run.lost_because == TIMED_OUT:
        return "Status: timeout\t"
    return f"Status: error\tError Type: {plain(run.lost_because)}\t"


def _error(error_type: str, request_id: str, why: str) -> bytes:
    message = _message(request_id, why)
    return _compact({"errorType": error_type, "errorMessage": message})


def _message(request_id: str, why: str) -> str:
    return f"RequestId: {request_id} Error: {why}"


def _compact(value: dict[str, str]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# AWS gives these two keys in the other order than everywhere else.
_TOO_LARGE = "Function.ResponseSizeTooLarge"
_RESPONSE_TOO_LARGE = _compact(
    {
        "errorMessage": "Response payload size exceeded maximum allowed payload size "
        f"({MAX_RESPONSE} bytes).",
        "errorType": _TOO_LARGE,
    }
)


def _why_it_exited(run: Run) -> str:
    if run.why:
        return run.why
    if run.ended is Ended.SIGNALED and run.signal is not None:
        return f"Runtime exited with error: signal: {signal_text(run.signal)}"
    if run.ended is Ended.EXITED and run.exit_code:
        return f"Runtime exited with error: exit status {run.exit_code}"
    return "Runtime exited without providing a reason"


def signal_text(signal: int) -> str:
    """A signal as Go, in which AWS's own supervisor is written, prints it."""
    return _SIGNALS.get(signal, f"signal {signal}")


_SIGNALS: Final = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    24: "CPU time limit exceeded",
    25: "file size limit exceeded",
    31: "bad system call",
}


def plain(error_type: str) -> str:
    """An error type is the tenant's word inside a line of ours: a tab in it would
    forge fields of REPORT."""
    return error_type if _PLAIN.fullmatch(error_type) else "Runtime.Unknown"


_PLAIN: Final = re.compile(r"[\w.:$-]{1,128}")
