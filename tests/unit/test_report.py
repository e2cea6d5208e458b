"""AWS's words for how an invocation ended. The texts are AWS's to the letter."""

import json
from datetime import timedelta
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sandlot_engine.invocation.report import (
    billed_ms,
    cancelled_outcome_of,
    log_tail,
    outcome_of,
    record_of,
)
from sandlot_engine.invocation.verdict import signal_text
from sandlot_engine.model.invocation import (
    MAX_LOG_TAIL,
    Ended,
    LogLine,
    LogSource,
    Outcome,
    Run,
    Status,
)
from tests.fakes.runs import ENDED, ID, INVOCATION, RAN, revision


def outcome(run: Run, **config: int) -> Outcome:
    return outcome_of(INVOCATION, revision(**config), run, ended=ENDED)


def ended(how: Ended, **fields: object) -> Run:
    return replace(RAN, ended=how, **fields)


def report_line(of: Outcome) -> str:
    return of.log[-1].text.decode()


def printed(text: bytes, request_id: str = ID) -> LogLine:
    return LogLine(
        time=ENDED, request_id=request_id, source=LogSource.FUNCTION, text=text
    )


# --- payloads -------------------------------------------------------------------


def test_an_answer_is_passed_on_untouched() -> None:
    result = outcome(replace(RAN, payload=b'{ "a":1 }'))

    assert (result.status, result.payload) == (Status.OK, b'{ "a":1 }')
    assert (result.function_error, result.executed_version) == ("", "$LATEST")


def test_why_a_program_could_not_be_started_is_told_as_why_one_exits() -> None:
    said = b'{"errorMessage": "fork/exec /a: no", "errorType": "T", "requestId": ""}'
    run = ended(Ended.INIT_FAILED, payload=said, error_type="Runtime.InvalidEntrypoint")

    assert outcome(run).payload == (
        b'{"errorType":"Runtime.InvalidEntrypoint",'
        b'"errorMessage":"RequestId: %s Error: fork/exec /a: no"}' % ID.encode()
    )


@pytest.mark.parametrize("said", [b"no JSON", b"[]", b"{}", b'{"errorMessage": 1}'])
def test_what_says_nothing_of_why_is_passed_on_untouched(said: bytes) -> None:
    run = ended(Ended.INIT_FAILED, payload=said, error_type="Extension.Crash")

    assert outcome(run).payload == said


def test_the_runtimes_error_object_is_passed_on_untouched() -> None:
    payload = b'{"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}'

    result = outcome(ended(Ended.FAILED, payload=payload, error_type="ValueError"))

    assert (result.status, result.payload) == (Status.ERROR, payload)
    assert (result.function_error, result.error_type) == ("Unhandled", "ValueError")


def test_a_timeout_is_told_as_aws_tells_it() -> None:
    result = outcome(ended(Ended.TIMED_OUT), timeout_s=1)

    assert result.status is Status.TIMEOUT
    assert result.payload.decode() == (
        '{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: '
        f'{ID} Error: Task timed out after 1.00 seconds"}}'
    )


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (ended(Ended.EXITED, exit_code=0), "Runtime exited without providing a reason"),
        (ended(Ended.EXITED), "Runtime exited without providing a reason"),
        (
            ended(Ended.EXITED, exit_code=127),
            "Runtime exited with error: exit status 127",
        ),
        (
            ended(Ended.SIGNALED, signal=9),
            "Runtime exited with error: signal: killed",
        ),
        (
            ended(Ended.SIGNALED, signal=11),
            "Runtime exited with error: signal: segmentation fault",
        ),
        (
            ended(Ended.SIGNALED, signal=6),
            "Runtime exited with error: signal: aborted",
        ),
        (ended(Ended.VIOLATION), "Runtime exited without providing a reason"),
    ],
)
def test_a_crash_is_told_as_aws_tells_it(run: Run, why: str) -> None:
    result = outcome(run)

    assert result.status is Status.CRASHED
    assert result.payload.decode() == (
        f'{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {ID} '
        f'Error: {why}"}}'
    )


def test_a_crash_that_the_node_can_name_keeps_its_name() -> None:
    run = ended(Ended.SIGNALED, signal=9, error_type="Runtime.OutOfMemory")

    result = outcome(run)

    assert result.error_type == "Runtime.OutOfMemory"
    assert json.loads(result.payload)["errorType"] == "Runtime.OutOfMemory"


def test_an_answer_that_is_too_large_is_told_as_aws_tells_it() -> None:
    result = outcome(ended(Ended.TOO_LARGE))

    assert result.status is Status.ERROR
    assert result.payload == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload '
        b'size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
    )


def test_a_signal_without_a_name_keeps_its_number() -> None:
    assert signal_text(64) == "signal 64"


# --- lines ----------------------------------------------------------------------


def test_a_warm_report_has_no_init_duration() -> None:
    log = outcome(RAN).log

    assert [line.text.decode() for line in log] == [
        f"START RequestId: {ID} Version: $LATEST",
        f"END RequestId: {ID}",
        (
            f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\t"
            "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"
        ),
    ]


def test_a_log_begins_as_long_before_its_end_as_it_took() -> None:
    start, *_, report = outcome(replace(RAN, duration_s=1.5)).log

    assert (start.time, report.time) == (ENDED - timedelta(seconds=1.5), ENDED)


def test_a_report_knows_how_long_was_waited_for_an_instance() -> None:
    assert outcome(replace(RAN, wait_s=0.2505)).report.wait_ms == 250.5


def test_a_cold_report_has_the_init_duration_and_bills_it() -> None:
    line = report_line(outcome(replace(RAN, duration_s=0.13361, init_s=0.080)))

    assert line.endswith(
        "Duration: 133.61 ms\tBilled Duration: 214 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\tInit Duration: 80.00 ms\t"
    )


def test_a_timeouts_report_says_so_and_bills_the_full_timeout() -> None:
    run = ended(Ended.TIMED_OUT, duration_s=1.037, init_s=0.0101)

    result = outcome(run, timeout_s=1)

    assert "Duration: 1000.00 ms\tBilled Duration: 1011 ms\t" in report_line(result)
    assert report_line(result).endswith("\tStatus: timeout\t")


def test_an_answer_that_was_read_late_is_billed_up_to_the_timeout() -> None:
    late = ended(Ended.ANSWERED, duration_s=30.0)

    assert outcome(late, timeout_s=3).report.billed_ms == 3_000


@pytest.mark.parametrize(
    ("init_s", "duration_s"), [(3.02, 0.0), (2.0, 1.03), (1.999_999, 1.03)]
)
def test_an_init_within_the_timeout_is_not_billed_twice(
    init_s: float, duration_s: float
) -> None:
    run = ended(Ended.TIMED_OUT, init_s=init_s, duration_s=duration_s)

    assert outcome(run, timeout_s=3).report.billed_ms == 3_000


def test_an_init_before_the_timeout_is_billed_beside_all_of_it() -> None:
    run = ended(Ended.TIMED_OUT, init_s=0.5, duration_s=2.99)

    assert outcome(run, timeout_s=3).report.billed_ms == 3_500


def _said(run: Run, **config: int) -> list[str]:
    return [line.text.decode() for line in outcome(run, **config).log]


_START, _END = f"START RequestId: {ID} Version: $LATEST", f"END RequestId: {ID}"
_SIZES = "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"


def test_an_init_within_the_invocation_is_in_its_duration() -> None:
    run = replace(RAN, init_s=0.0101, init_is_within=True)

    assert _said(run) == [
        _START,
        _END,
        (
            f"REPORT RequestId: {ID}\tDuration: 13.11 ms\tBilled Duration: 14 ms\t"
            f"{_SIZES}"
        ),
    ]
    # Ours tells what came to be.
    report = outcome(run).report
    assert (report.duration_ms, report.init_ms, report.billed_ms) == (3.01, 10.1, 14)


def test_an_init_that_took_too_long_is_told_and_the_second_try_in_the_duration() -> (
    None
):
    run = replace(
        RAN, late_init_s=10.0086, init_s=2.0, duration_s=0.5, init_is_within=True
    )

    assert _said(run) == [
        "INIT_REPORT Init Duration: 10008.60 ms\tPhase: init\tStatus: timeout",
        _START,
        _END,
        (
            f"REPORT RequestId: {ID}\tDuration: 2500.00 ms\tBilled Duration: 2500 ms\t"
            f"{_SIZES}"
        ),
    ]


@pytest.mark.parametrize(
    ("how", "error_type", "init", "status"),
    [
        (Ended.TIMED_OUT, "", "3000.00", "timeout"),
        (Ended.INIT_FAILED, "Broken", "3020.00", "error\tError Type: Broken"),
        (
            Ended.EXITED,
            "",
            "3020.00",
            "error\tError Type: Runtime.ExitError",
        ),
    ],
)
def test_an_init_within_the_invocation_that_fails_has_a_line_after_start(
    how: Ended, error_type: str, init: str, status: str
) -> None:
    run = ended(
        how, error_type=error_type, init_s=3.02, duration_s=0.0, init_is_within=True
    )

    start, report, *_ = _said(run, timeout_s=3)

    assert start == _START
    assert report == (
        f"INIT_REPORT Init Duration: {init} ms\tPhase: invoke\tStatus: {status}"
    )


def test_a_crashs_report_says_so() -> None:
    line = report_line(outcome(ended(Ended.EXITED, exit_code=1)))

    assert line.endswith("\tStatus: error\tError Type: Runtime.ExitError\t")


def test_a_crashs_log_says_why_before_its_end() -> None:
    log = outcome(ended(Ended.SIGNALED, signal=11, log=(printed(b"mine"),))).log

    assert [line.text.decode() for line in log][:-1] == [
        f"START RequestId: {ID} Version: $LATEST",
        "mine",
        f"RequestId: {ID} Error: Runtime exited with error: signal: segmentation fault",
        f"END RequestId: {ID}",
    ]
    assert log[2].source is LogSource.PLATFORM


def test_who_was_ended_by_its_caller_did_not_crash() -> None:
    gone = cancelled_outcome_of(INVOCATION, revision(), ran_s=0.25, ended=ENDED)

    said = [line.text.partition(b" ")[0] for line in gone.log]
    assert said == [b"START", b"END", b"REPORT"]


def test_a_failing_import_has_a_line_of_its_own_before_start() -> None:
    run = ended(
        Ended.INIT_FAILED,
        payload=b"{}",
        error_type="Runtime.ImportModuleError",
        init_s=1.23604,
        log=(printed(b"importing", request_id=""), printed(b"never")),
    )

    result = outcome(run)

    assert result.status is Status.INIT_FAILED
    assert [line.text.decode().split(" ")[0] for line in result.log] == [
        "importing",
        "INIT_REPORT",
        "START",
        "never",
        "END",
        "REPORT",
    ]
    assert result.log[1].text.decode() == (
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: error\t"
        "Error Type: Runtime.ImportModuleError"
    )


@pytest.mark.parametrize(
    "run", [ended(Ended.EXITED, exit_code=3), ended(Ended.SIGNALED, signal=9)]
)
def test_an_import_that_ends_its_process_has_such_a_line_too(run: Run) -> None:
    run = replace(run, init_s=1.23604, duration_s=0.0)

    told, start, *_ = _said(run)

    assert told == (
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: error\t"
        "Error Type: Runtime.ExitError"
    )
    assert start == _START


def test_a_crash_in_the_first_event_is_none_of_the_init() -> None:
    log = outcome(ended(Ended.EXITED, exit_code=3, init_s=1.23604)).log

    assert not any(line.text.startswith(b"INIT_REPORT") for line in log)


def test_a_forged_report_is_the_functions_line() -> None:
    forged = printed(b"REPORT RequestId: x\tBilled Duration: 0 ms\t")

    log = outcome(replace(RAN, log=(forged,))).log

    sources = [line.source for line in log if line.text.startswith(b"REPORT")]
    assert sources == [LogSource.FUNCTION, LogSource.PLATFORM]


@pytest.mark.parametrize("forged", ["X\tBilled Duration: 0 ms", "X\nREPORT", "x" * 999])
def test_an_error_type_cannot_forge_fields_of_the_report(forged: str) -> None:
    result = outcome(ended(Ended.INIT_FAILED, error_type=forged))

    assert report_line(result).endswith("\tError Type: Runtime.Unknown\t")


def test_dropped_output_is_announced_by_the_platform() -> None:
    run = replace(RAN, log=(printed(b"much"),), log_bytes_dropped=512)

    line = outcome(run).log[2]

    assert line.text.decode() == "[… 512 bytes dropped]"
    assert line.source is LogSource.PLATFORM


# --- the tail -------------------------------------------------------------------


def test_a_short_tail_is_the_whole_log() -> None:
    tail = outcome(replace(RAN, log=(printed(b"hello"),))).log_tail

    assert tail.startswith(f"START RequestId: {ID} Version: $LATEST\nhello\n".encode())
    assert tail.endswith(b"Max Memory Used: 36 MB\t\n")


def test_a_long_tail_is_cut_at_its_front() -> None:
    run = replace(RAN, log=tuple(printed(b"x" * 100) for _ in range(1_000)))

    result = outcome(run)

    assert len(result.log_tail) == MAX_LOG_TAIL
    assert result.log_tail.endswith(result.log[-1].text + b"\n")


@given(st.lists(st.binary(max_size=3_000), max_size=5))
def test_a_tail_is_the_end_of_the_text(texts: list[bytes]) -> None:
    log = tuple(printed(text) for text in texts)

    whole = b"".join(text + b"\n" for text in texts)
    assert log_tail(log) == whole[-MAX_LOG_TAIL:]


def test_no_tail_is_made_for_nobody() -> None:
    unasked = replace(INVOCATION, tail_log=False)

    assert outcome_of(unasked, revision(), RAN, ended=ENDED).log_tail == b""


# --- the bill -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration_s", "billed"),
    [(0.003, 3), (0.0030001, 3), (0.003001, 4), (0.1 + 0.2, 300), (0.0, 0), (-1.0, 0)],
)
def test_a_float_never_costs_a_millisecond(duration_s: float, billed: int) -> None:
    assert outcome(replace(RAN, duration_s=duration_s)).report.billed_ms == billed


@given(st.integers(min_value=0, max_value=10**12))
def test_a_bill_is_the_exact_ceiling(microseconds: int) -> None:
    assert billed_ms(microseconds) == ceil(Fraction(microseconds, 1_000))


@given(
    st.integers(min_value=0, max_value=900_000),
    st.integers(min_value=0, max_value=9_999),
)
def test_whole_milliseconds_are_billed_as_they_are(duration: int, init: int) -> None:
    run = replace(RAN, duration_s=duration / 1_000, init_s=init / 1_000)

    assert outcome(run, timeout_s=900).report.billed_ms == duration + init


def test_the_unit_of_the_bill_is_memory_times_time() -> None:
    report = outcome(replace(RAN, duration_s=0.01), memory_mb=512).report

    assert (report.billed_mb_ms, report.is_cold) == (5_120, False)


def test_a_cancelled_invocation_is_billed_up_to_its_timeout() -> None:
    quick = cancelled_outcome_of(INVOCATION, revision(), ran_s=0.25, ended=ENDED)
    stuck = cancelled_outcome_of(INVOCATION, revision(), ran_s=99.0, ended=ENDED)

    assert (quick.report.billed_ms, stuck.report.billed_ms) == (250, 3_000)
    assert (quick.report.wait_ms, quick.report.max_memory_used_mb) == (0.0, 0)
    assert quick.error_type == "Sandbox.Cancelled"


def test_a_record_says_who_ran_what_when_and_how() -> None:
    result = outcome(ended(Ended.EXITED, exit_code=1))

    record = record_of(INVOCATION, result, ended=ENDED)

    assert (record.request_id, record.tenant_id, record.function) == (
        ID,
        "111111111111",
        "f",
    )
    assert (record.time, record.status, record.error_type) == (
        ENDED,
        Status.CRASHED,
        "Runtime.ExitError",
    )


def test_a_timeout_of_extensions_costs_what_was_promised() -> None:
    run = replace(RAN, duration_s=3.02, lost_because="Sandbox.Timedout")
    result = outcome(run, timeout_s=3)

    assert result.status is Status.OK
    assert result.report.billed_ms == 3_000
    assert b"Status: timeout" in result.log_tail


# --- SnapStart ------------------------------------------------------------------


def test_a_restore_is_told_as_such_and_billed_like_an_init() -> None:
    run = replace(RAN, init_s=0.0123, is_restore=True, log=(printed(b"hello"),))

    result = outcome(run)

    assert [line.text.decode() for line in result.log] == [
        "RESTORE_START Runtime Version: python:3.11",
        "RESTORE_REPORT Restore Duration: 12.30 ms",
        f"START RequestId: {ID} Version: $LATEST",
        "hello",
        f"END RequestId: {ID}",
        (
            f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 16 ms\t"
            "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"
            "Restore Duration: 12.30 ms\tBilled Restore Duration: 13 ms\t"
        ),
    ]


@pytest.mark.parametrize(
    ("how", "init_s", "billed", "tail"),
    [
        (Ended.INIT_TIMED_OUT, 10.02, 10_000, "10000.00 ms\tStatus: timeout"),
        (
            Ended.INIT_FAILED,
            0.5,
            500,
            "500.00 ms\tStatus: error\tError Type: Runtime.AfterRestoreError",
        ),
    ],
)
def test_a_restore_that_failed_is_billed_and_no_invocation(
    how: Ended, init_s: float, billed: int, tail: str
) -> None:
    error_type = "Runtime.AfterRestoreError" if how is Ended.INIT_FAILED else ""
    run = ended(
        how, init_s=init_s, duration_s=0.0, is_restore=True, error_type=error_type
    )

    result = outcome(replace(run, log=(printed(b"in a hook"),)))

    assert result.report.billed_ms == billed
    assert [line.text.decode() for line in result.log] == [
        "RESTORE_START Runtime Version: python:3.11",
        "in a hook",
        f"RESTORE_REPORT Restore Duration: {tail}",
    ]
