"""What a node saw of an invocation, put in AWS's words.

Pure: a `Run` goes in, an `Outcome` comes out. Texts, separators and the order of
keys are what clients match on, so they are AWS's to the letter. Durations become
whole microseconds first, and sums and roundings are those of integers: 3.0 ms are
billed as 3 and never, by a float's last bit, as 4.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from sandlot_engine.invocation import json_log, restore
from sandlot_engine.model.function import LATEST, Revision
from sandlot_engine.model.invocation import (
    MAX_LOG_TAIL,
    MAX_RESPONSE,
    Ended,
    Invocation,
    LogLine,
    LogSource,
    Outcome,
    Record,
    Report,
    Run,
    Status,
)

CANCELLED: Final = "Sandbox.Cancelled"
"""Error type of an invocation whose caller went away: only records show it."""


def outcome_of(
    invocation: Invocation,
    revision: Revision,
    run: Run,
    *,
    version: str = LATEST,
    ended: datetime,
) -> Outcome:
    """The value that travels back to the caller. `ended` is UTC, `version` what the
    revision is one of."""
    verdict = _verdict(invocation, revision, run)
    report, times = _report(revision, run)
    logging = revision.config.logging
    if logging.format == "JSON":
        facts = _facts(invocation.request_id, version, run, verdict, report, times)
        log = tuple(json_log.lines_of(facts, run, logging, ended=ended))
    else:
        log = _log(invocation, revision, version, run, verdict, report, times, ended)
    return Outcome(
        request_id=invocation.request_id,
        status=verdict.status,
        payload=verdict.payload,
        executed_version=version,
        report=report,
        error_type=verdict.error_type,
        log=log,
        log_tail=log_tail(log) if invocation.tail_log else b"",
        is_streamed=run.is_streamed,
    )


def record_of(invocation: Invocation, outcome: Outcome, *, ended: datetime) -> Record:
    """The row of the ledger for an invocation that ran."""
    return Record(
        request_id=invocation.request_id,
        tenant_id=invocation.tenant_id,
        function=invocation.function,
        version=outcome.executed_version,
        time=ended,
        status=outcome.status,
        error_type=outcome.error_type,
        report=outcome.report,
    )


def cancelled_outcome_of(
    invocation: Invocation,
    revision: Revision,
    *,
    version: str = LATEST,
    ran_s: float,
    ended: datetime,
) -> Outcome:
    """What is kept of an invocation whose caller went away before the answer.

    Its instance was destroyed, and its time is billed as far as the function's
    timeout: giving up early must not be a way to compute for nothing.
    """
    run = Run(
        ended=Ended.EXITED,
        error_type=CANCELLED,
        duration_s=min(ran_s, float(revision.config.timeout_s)),
        wait_s=0.0,
        max_memory_mb=0,
    )
    return outcome_of(invocation, revision, run, version=version, ended=ended)


def log_tail(log: tuple[LogLine, ...]) -> bytes:
    """The last `MAX_LOG_TAIL` bytes of the log as text. The cut is at the front,
    and REPORT is the last line and short, so it is never cut."""
    lines: list[bytes] = []
    size = 0
    for line in reversed(log):
        lines.append(line.text + b"\n")
        size += len(lines[-1])
        if size >= MAX_LOG_TAIL:
            break
    return b"".join(reversed(lines))[-MAX_LOG_TAIL:]


# --- how it ended ---------------------------------------------------------------


class _Verdict(Struct, frozen=True):
    status: Status
    payload: bytes
    error_type: str = ""
    report_tail: str = ""
    """The end of the REPORT line, for failures that the platform noticed."""

    log_line: str = ""
    """Why it crashed, for its log: nothing else would say it there."""


def _verdict(invocation: Invocation, revision: Revision, run: Run) -> _Verdict:
    request_id = invocation.request_id
    match run.ended:
        case Ended.ANSWERED:
            return _Verdict(Status.OK, run.payload, report_tail=_lost(run))
        case Ended.FAILED:
            error_type = _plain(run.error_type)
            payload = run.payload or _error(error_type, request_id, "Unknown error")
            return _Verdict(Status.ERROR, payload, error_type, _lost(run))
        case Ended.INIT_FAILED:
            error_type = _plain(run.error_type)
            payload = run.payload or _error(error_type, request_id, "Unknown error")
            return _failed(Status.INIT_FAILED, payload, error_type)
        case Ended.TIMED_OUT | Ended.INIT_TIMED_OUT:
            timeout = f"Task timed out after {revision.config.timeout_s:.2f} seconds"
            error_type = _TIMED_OUT
            payload = _error(error_type, request_id, timeout)
            return _Verdict(Status.TIMEOUT, payload, error_type, "Status: timeout\t")
        case Ended.TOO_LARGE:
            return _failed(Status.ERROR, _RESPONSE_TOO_LARGE, _TOO_LARGE)
        case Ended.EXITED | Ended.SIGNALED | Ended.VIOLATION:
            error_type = _plain(run.error_type or "Runtime.ExitError")
            why = _why_it_exited(run)
            payload = _error(error_type, request_id, why)
            # It did not crash if it was its caller who ended it.
            told = "" if error_type == CANCELLED else _message(request_id, why)
            return _failed(Status.CRASHED, payload, error_type, log_line=told)


def _failed(
    status: Status, payload: bytes, error_type: str, *, log_line: str = ""
) -> _Verdict:
    tail = f"Status: error\tError Type: {error_type}\t"
    return _Verdict(status, payload, error_type, tail, log_line)


def _lost(run: Run) -> str:
    """Of what had its answer, and lost its instance while extensions worked on."""
    if not run.lost_because:
        return ""
    if run.lost_because == _TIMED_OUT:
        return "Status: timeout\t"
    return f"Status: error\tError Type: {_plain(run.lost_because)}\t"


def _error(error_type: str, request_id: str, why: str) -> bytes:
    message = _message(request_id, why)
    return _compact({"errorType": error_type, "errorMessage": message})


def _message(request_id: str, why: str) -> str:
    return f"RequestId: {request_id} Error: {why}"


def _compact(value: dict[str, str]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_TIMED_OUT: Final = "Sandbox.Timedout"

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


def _plain(error_type: str) -> str:
    """An error type is the tenant's word inside a line of ours: a tab in it would
    forge fields of REPORT."""
    return error_type if _PLAIN.fullmatch(error_type) else "Runtime.Unknown"


_PLAIN: Final = re.compile(r"[\w.:$-]{1,128}")


# --- what it took ---------------------------------------------------------------


class _Times(Struct, frozen=True):
    """Whole microseconds."""

    duration_us: int
    init_us: int | None


def _report(revision: Revision, run: Run) -> tuple[Report, _Times]:
    times = _times(revision, run)
    report = Report(
        duration_ms=times.duration_us / 1_000,
        init_ms=None if times.init_us is None else times.init_us / 1_000,
        wait_ms=_microseconds(run.wait_s) / 1_000,
        billed_ms=billed_ms(times.duration_us + (times.init_us or 0)),
        memory_mb=revision.config.memory_mb,
        max_memory_used_mb=run.max_memory_mb,
    )
    return report, times


def _times(revision: Revision, run: Run) -> _Times:
    init_us = None if run.init_s is None else _microseconds(run.init_s)
    duration_us = _microseconds(run.duration_s)
    if restore.has_failed(run):
        return _Times(0, min(init_us or 0, restore.LIMIT_US))
    if run.ended in (Ended.TIMED_OUT, Ended.INIT_TIMED_OUT):
        # A timeout costs what was promised. The time past it is ours: it is what
        # we took to notice and to kill.
        timeout_us = _microseconds(revision.config.timeout_s)
        if init_us is not None and duration_us < timeout_us - _EARLY_US:
            # The init ran within the timeout, as it does at its second try.
            init_us = min(init_us, timeout_us)
            duration_us = timeout_us - init_us
        else:
            duration_us = timeout_us
    elif run.lost_because == _TIMED_OUT:
        duration_us = min(duration_us, _microseconds(revision.config.timeout_s))
    return _Times(duration_us, init_us)


_EARLY_US: Final = 10_000
"""A timer may be early by the clock's resolution, and far less than this."""


def _microseconds(seconds: float) -> int:
    return max(0, round(seconds * 1_000_000))


def billed_ms(microseconds: int) -> int:
    """Every begun millisecond counts."""
    return -(-microseconds // 1_000)


# --- what is logged -------------------------------------------------------------


def _log(
    invocation: Invocation,
    revision: Revision,
    version: str,
    run: Run,
    verdict: _Verdict,
    report: Report,
    times: _Times,
    ended: datetime,
) -> tuple[LogLine, ...]:
    """The invocation's log in AWS's order: what the import printed comes before
    START, where AWS has it too."""
    request_id = invocation.request_id
    began = ended - timedelta(microseconds=times.duration_us)
    if run.is_restore:
        said = _log_of_restore(
            invocation, revision, version, run, verdict, report, times, ended
        )
        return tuple(said)
    start = f"START RequestId: {request_id} Version: {version}"
    before = [(began, start)]
    if run.ended is Ended.INIT_FAILED:
        before.insert(0, (began, _init_report_line(times, verdict)))
    after = [(ended, f"END RequestId: {request_id}")]
    if verdict.log_line:
        after.insert(0, (ended, verdict.log_line))
    if run.log_bytes_dropped:
        after.insert(0, (ended, f"[… {run.log_bytes_dropped} bytes dropped]"))
    after.append((ended, _report_line(request_id, report, times, verdict)))
    if not run.log:
        return _platform(request_id, [*before, *after])
    return (
        *(line for line in run.log if not line.request_id),
        *_platform(request_id, before),
        *(line for line in run.log if line.request_id),
        *_platform(request_id, after),
    )


def _log_of_restore(
    invocation: Invocation,
    revision: Revision,
    version: str,
    run: Run,
    verdict: _Verdict,
    report: Report,
    times: _Times,
    ended: datetime,
) -> Iterator[LogLine]:
    """The same of a clone of a snapshot."""
    request_id = invocation.request_id
    began = ended - timedelta(microseconds=times.duration_us)

    def platform(time: datetime, text: str) -> LogLine:
        return LogLine(
            time=time,
            request_id=request_id,
            source=LogSource.PLATFORM,
            text=text.encode(),
        )

    yield platform(began, restore.start_line(revision.config))
    yield from (line for line in run.log if not line.request_id)
    if has_failed := restore.has_failed(run):
        yield from (line for line in run.log if line.request_id)
    yield platform(
        began, restore.report_line(run, times.init_us or 0, verdict.error_type)
    )
    if has_failed:
        return
    yield platform(began, f"START RequestId: {request_id} Version: {version}")
    yield from (line for line in run.log if line.request_id)
    if run.log_bytes_dropped:
        yield platform(ended, f"[… {run.log_bytes_dropped} bytes dropped]")
    if verdict.log_line:
        yield platform(ended, verdict.log_line)
    yield platform(ended, f"END RequestId: {request_id}")
    yield platform(
        ended, _report_line(request_id, report, times, verdict, is_restore=True)
    )


def _platform(
    request_id: str, said: Sequence[tuple[datetime, str]]
) -> tuple[LogLine, ...]:
    return tuple(
        [
            LogLine(
                time=time,
                request_id=request_id,
                source=LogSource.PLATFORM,
                text=text.encode(),
            )
            for time, text in said
        ]
    )


def _facts(
    request_id: str,
    version: str,
    run: Run,
    verdict: _Verdict,
    report: Report,
    times: _Times,
) -> json_log.Facts:
    status = json_log.STATUSES[verdict.status]
    error_type = verdict.error_type
    if run.lost_because and verdict.status is Status.OK:
        status = "timeout" if run.lost_because == _TIMED_OUT else "error"
        error_type = _plain(run.lost_because)
    after_us = min(_microseconds(run.extensions_s), times.duration_us)
    return json_log.Facts(
        request_id=request_id,
        version=version,
        status=status,
        error_type=error_type,
        duration_us=times.duration_us,
        runtime_us=times.duration_us - after_us,
        init_us=times.init_us,
        init_failed=run.ended is Ended.INIT_FAILED or restore.has_failed(run),
        is_restore=run.is_restore,
        billed_ms=report.billed_ms,
        memory_mb=report.memory_mb,
        max_memory_used_mb=report.max_memory_used_mb,
    )


def _report_line(
    request_id: str,
    report: Report,
    times: _Times,
    verdict: _Verdict,
    *,
    is_restore: bool = False,
) -> str:
    """Tabs between the fields and, as AWS has it, after the last one, too."""
    init = "" if times.init_us is None else f"Init Duration: {_ms(times.init_us)} ms\t"
    if is_restore:
        init = restore.report_fields(times.init_us or 0)
    return (
        f"REPORT RequestId: {request_id}\t"
        f"Duration: {_ms(times.duration_us)} ms\t"
        f"Billed Duration: {report.billed_ms} ms\t"
        f"Memory Size: {report.memory_mb} MB\t"
        f"Max Memory Used: {report.max_memory_used_mb} MB\t"
        f"{init}{verdict.report_tail}"
    )


def _init_report_line(times: _Times, verdict: _Verdict) -> str:
    return (
        f"INIT_REPORT Init Duration: {_ms(times.init_us or 0)} ms\tPhase: init\t"
        f"Status: error\tError Type: {verdict.error_type}"
    )


def _ms(microseconds: int) -> str:
    """Milliseconds with two decimals."""
    return f"{microseconds / 1_000:.2f}"
