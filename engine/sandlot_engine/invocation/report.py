"""What a node saw of an invocation, put in AWS's words.

Pure: a `Run` goes in, an `Outcome` comes out. Texts, separators and the order of
keys are what clients match on, so they are AWS's to the letter. Durations become
whole microseconds first, and sums and roundings are those of integers: 3.0 ms are
billed as 3 and never, by a float's last bit, as 4.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from sandlot_engine.invocation import json_log, restore
from sandlot_engine.invocation.verdict import (
    TIMED_OUT,
    Verdict,
    plain,
    verdict_of,
)
from sandlot_engine.model.function import LATEST, Revision
from sandlot_engine.model.invocation import (
    MAX_LOG_TAIL,
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
    verdict = verdict_of(invocation, revision, run)
    report, times = _report(revision, run)
    logging = revision.config.logging
    if logging.format == "JSON":
        facts = _facts(invocation, version, run, verdict, report, times)
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
        ended=Ended.ABANDONED,
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


# --- what it took ---------------------------------------------------------------


class _Times(Struct, frozen=True):
    """Whole microseconds; in the end, as they are logged."""

    duration_us: int
    init_us: int | None
    within_us: int | None = None
    """What the init took that is a part of the duration."""


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
    if run.init_is_within and times.init_us is not None:
        # AWS tells it as a part of the duration. Ours tells both, here as well.
        duration_us = times.duration_us + times.init_us
        times = _Times(duration_us, None, within_us=times.init_us)
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
    else:
        # Where it seems to be longer, we were late to look.
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
    verdict: Verdict,
    report: Report,
    times: _Times,
    ended: datetime,
) -> tuple[LogLine, ...]:
    """The invocation's log in AWS's order: what the import printed comes before
    START, where AWS has it too."""
    request_id = invocation.request_id
    began = ended - timedelta(microseconds=times.duration_us)
    before: list[tuple[datetime, str]] = []
    between = [(began, f"START RequestId: {request_id} Version: {version}")]
    if run.is_restore:
        before.append((began, restore.start_line(revision.config)))
        error_type = verdict.error_type
        restored = restore.report_line(run, times.init_us or 0, error_type)
        if restore.has_failed(run):
            # Nothing was invoked.
            return (
                *_platform(request_id, before),
                *_of_import(run),
                *_of_handler(run),
                *_platform(request_id, [(began, restored)]),
            )
        between.insert(0, (began, restored))
    elif times.within_us is None and _has_failed_init(run):
        between.insert(0, (began, _init_report_line(times.init_us or 0, verdict)))
    if run.late_init_s is not None:
        before.append((began, _late_init_line(run.late_init_s)))
    after = []
    if times.within_us is not None and _has_failed_init(run):
        line = _init_report_line(times.within_us, verdict, phase="invoke")
        after.append((ended, line))
    if run.log_bytes_dropped:
        after.append((ended, f"[… {run.log_bytes_dropped} bytes dropped]"))
    if verdict.log_line:
        after.append((ended, verdict.log_line))
    after.append((ended, f"END RequestId: {request_id}"))
    after.append((ended, _report_line(request_id, report, times, verdict, run)))
    if not run.log:
        return _platform(request_id, [*before, *between, *after])
    return (
        *_platform(request_id, before),
        *_of_import(run),
        *_platform(request_id, between),
        *_of_handler(run),
        *_platform(request_id, after),
    )


def _of_import(run: Run) -> Iterator[LogLine]:
    return (line for line in run.log if not line.request_id)


def _of_handler(run: Run) -> Iterator[LogLine]:
    return (line for line in run.log if line.request_id)


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
    invocation: Invocation,
    version: str,
    run: Run,
    verdict: Verdict,
    report: Report,
    times: _Times,
) -> json_log.Facts:
    status = json_log.STATUSES[verdict.status]
    error_type = verdict.error_type
    if run.lost_because and verdict.status is Status.OK:
        status = "timeout" if run.lost_because == TIMED_OUT else "error"
        error_type = plain(run.lost_because)
    after_us = min(_microseconds(run.extensions_s), times.duration_us)
    late_s = run.late_init_s
    return json_log.Facts(
        request_id=invocation.request_id,
        function=invocation.function,
        version=version,
        isolation_key=invocation.isolation_key,
        status=status,
        error_type=error_type,
        duration_us=times.duration_us,
        runtime_us=times.duration_us - after_us,
        init_us=times.init_us if times.within_us is None else times.within_us,
        init_failed=_has_failed_init(run),
        init_is_within=times.within_us is not None,
        late_init_us=None if late_s is None else _microseconds(late_s),
        is_restore=run.is_restore,
        is_provisioned=run.is_provisioned,
        billed_ms=report.billed_ms,
        memory_mb=report.memory_mb,
        max_memory_used_mb=report.max_memory_used_mb,
    )


def _report_line(
    request_id: str,
    report: Report,
    times: _Times,
    verdict: Verdict,
    run: Run,
) -> str:
    """Tabs between the fields and, as AWS has it, after the last one, too."""
    init = "" if times.init_us is None else f"Init Duration: {_ms(times.init_us)} ms\t"
    if run.is_restore:
        init = restore.report_fields(times.init_us or 0)
    return (
        f"REPORT RequestId: {request_id}\t"
        f"Duration: {_ms(times.duration_us)} ms\t"
        f"Billed Duration: {report.billed_ms} ms\t"
        f"Memory Size: {report.memory_mb} MB\t"
        f"Max Memory Used: {report.max_memory_used_mb} MB\t"
        f"{init}{verdict.report_tail}"
    )


def _has_failed_init(run: Run) -> bool:
    """Whether an init, be it a part of the invocation or not, never came to its end, as
    where the import exits: then no time is counted of the event."""
    if run.is_restore:
        return restore.has_failed(run)
    if run.ended is Ended.INIT_FAILED:
        return True
    return run.init_s is not None and not run.duration_s


def _init_report_line(init_us: int, verdict: Verdict, *, phase: str = "init") -> str:
    status = f"error\tError Type: {verdict.error_type}"
    if verdict.status is Status.TIMEOUT:
        status = "timeout"
    return (
        f"INIT_REPORT Init Duration: {_ms(init_us)} ms\tPhase: {phase}\t"
        f"Status: {status}"
    )


def _late_init_line(late_s: float) -> str:
    init_us = _microseconds(late_s)
    return f"INIT_REPORT Init Duration: {_ms(init_us)} ms\tPhase: init\tStatus: timeout"


def _ms(microseconds: int) -> str:
    """Milliseconds with two decimals."""
    return f"{microseconds / 1_000:.2f}"
