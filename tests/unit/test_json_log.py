"""The JSON format of a function's log. The shapes are AWS's to the letter."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sandlot_engine.invocation.json_log import Level, level_of
from sandlot_engine.invocation.report import outcome_of
from sandlot_engine.model.function import Logging
from sandlot_engine.model.invocation import Ended, LogLine, LogSource, Run
from tests.fakes.runs import ENDED, ID, INVOCATION, RAN, revision


def log(run: Run, whose: str = "", **levels: str) -> list[LogLine]:
    settled = revision()
    config = replace(settled.config, logging=Logging(format="JSON", **levels))
    invocation = structs.replace(INVOCATION, isolation_key=whose)
    outcome = outcome_of(invocation, replace(settled, config=config), run, ended=ENDED)
    return list(outcome.log)


def platform(run: Run, **levels: str) -> dict[str, Any]:
    found = [json.loads(line.text) for line in log(run, **levels)]
    return {event["type"]: event for event in found}


def test_start_and_report_are_shown() -> None:
    start, report = (json.loads(line.text) for line in log(RAN))

    assert start == {
        "time": "2026-05-17T12:29:59.996Z",
        "type": "platform.start",
        "record": {"requestId": ID, "version": "$LATEST"},
    }
    assert report == {
        "time": "2026-05-17T12:30:00.000Z",
        "type": "platform.report",
        "record": {
            "requestId": ID,
            "metrics": {
                "durationMs": 3.01,
                "billedDurationMs": 4,
                "memorySizeMB": 128,
                "maxMemoryUsedMB": 36,
            },
            "status": "success",
        },
    }


def test_with_tenant_isolation_they_say_whose_it_is() -> None:
    start, report = (json.loads(line.text) for line in log(RAN, whose="a b"))

    assert start["record"] == {
        "requestId": ID,
        "version": "$LATEST",
        "tenantId": "a b",
    }
    assert report["record"]["tenantId"] == "a b"


def test_with_debug_there_is_more() -> None:
    run = structs.replace(RAN, init_s=0.1, extensions_s=0.001, payload=b"1234")
    events = platform(run, system_level="DEBUG")

    assert list(events) == [
        "platform.initStart",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ]
    assert events["platform.initStart"]["record"] == {
        "initializationType": "on-demand",
        "phase": "init",
        "functionName": "f",
        "functionVersion": "$LATEST",
        "instanceMaxMemory": 128 << 20,
    }
    assert events["platform.runtimeDone"]["record"] == {
        "requestId": ID,
        "status": "success",
        "metrics": {"durationMs": 2.01, "producedBytes": 4},
    }
    assert events["platform.initReport"]["record"]["metrics"] == {"durationMs": 100.0}
    assert events["platform.report"]["record"]["metrics"]["initDurationMs"] == 100.0


def test_an_init_within_the_invocation_comes_after_its_start() -> None:
    run = structs.replace(RAN, init_s=0.1, init_is_within=True)
    events = platform(run, system_level="DEBUG")

    assert list(events) == [
        "platform.start",
        "platform.initStart",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.runtimeDone",
        "platform.report",
    ]
    assert events["platform.initReport"]["record"] == {
        "initializationType": "on-demand",
        "phase": "invoke",
        "status": "success",
        "metrics": {"durationMs": 100.0},
    }
    metrics = events["platform.report"]["record"]["metrics"]
    assert (metrics["durationMs"], metrics["billedDurationMs"]) == (103.01, 104)
    assert "initDurationMs" not in metrics


def test_the_init_of_a_provisioned_instance_is_called_so() -> None:
    run = structs.replace(RAN, init_s=0.1, is_provisioned=True)
    events = platform(run, system_level="DEBUG")

    for name in ("initStart", "initRuntimeDone", "initReport"):
        record = events[f"platform.{name}"]["record"]
        assert record["initializationType"] == "provisioned-concurrency"


def test_an_init_that_took_too_long_before_is_a_warning() -> None:
    run = structs.replace(RAN, late_init_s=10.0, init_s=0.1, init_is_within=True)
    found = [json.loads(line.text) for line in log(run, system_level="WARN")]

    assert [(event["type"], event["record"]["phase"]) for event in found] == [
        ("platform.initRuntimeDone", "init"),
        ("platform.initReport", "init"),
    ]
    assert {event["record"]["status"] for event in found} == {"timeout"}


@pytest.mark.parametrize(
    ("run", "status", "in_report", "error_type"),
    [
        (
            structs.replace(RAN, ended=Ended.FAILED, error_type="E"),
            "error",
            "error",
            "E",
        ),
        (
            structs.replace(RAN, ended=Ended.EXITED, exit_code=1),
            *("failure", "error", "Runtime.ExitError"),
        ),
        (
            structs.replace(RAN, ended=Ended.TIMED_OUT),
            *("timeout", "timeout", "Sandbox.Timedout"),
        ),
        (
            structs.replace(RAN, lost_because="Sandbox.Timedout"),
            *("timeout", "timeout", "Sandbox.Timedout"),
        ),
    ],
)
def test_what_failed_is_a_warning(
    run: Run, status: str, in_report: str, error_type: str
) -> None:
    events = platform(run, system_level="WARN")

    assert list(events) == ["platform.runtimeDone", "platform.report"]
    done, report = (event["record"] for event in events.values())
    assert (done["status"], done["errorType"]) == (status, error_type)
    assert (report["status"], report["errorType"]) == (in_report, error_type)


def test_a_failed_init_is_a_warning() -> None:
    run = structs.replace(RAN, ended=Ended.INIT_FAILED, init_s=0.1, error_type="Broken")
    events = platform(run, system_level="WARN")

    record = events["platform.initReport"]["record"]
    assert (record["status"], record["errorType"]) == ("error", "Broken")


def test_an_import_that_exits_is_a_failed_init() -> None:
    run = structs.replace(
        RAN, ended=Ended.EXITED, exit_code=3, init_s=0.1, duration_s=0.0
    )
    events = platform(run, system_level="WARN")

    record = events["platform.initReport"]["record"]
    assert (record["status"], record["errorType"]) == ("failure", "Runtime.ExitError")


def _printed(*texts: bytes) -> tuple[LogLine, ...]:
    now = datetime(2026, 5, 17, tzinfo=UTC)
    return tuple(
        LogLine(time=now, request_id=ID, source=LogSource.FUNCTION, text=text)
        for text in texts
    )


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("TRACE", 7),
        ("DEBUG", 6),
        ("INFO", 5),
        ("WARN", 3),
        ("ERROR", 2),
        ("FATAL", 1),
    ],
)
def test_lines_that_are_json_are_kept_by_their_level(level: str, kept: int) -> None:
    lines = _printed(
        b"plain text",
        b'{"level": "trace"}',
        b'{"level": "DEBUG"}',
        b'{"no": "level"}',
        b'{"level": 7}',
        b'{"level": "WARNING", "message": "x"}',
        b'{"log_level": "ERROR"}',
    )
    found = log(
        structs.replace(RAN, log=lines), application_level=level, system_level="WARN"
    )

    assert len(found) == kept


def test_what_was_dropped_is_told() -> None:
    events = platform(structs.replace(RAN, log_bytes_dropped=5), system_level="WARN")

    assert events["platform.logsDropped"]["record"]["droppedBytes"] == 5


@given(st.binary(max_size=100), st.sampled_from(["", "[" * 9_000, '{"a":' * 9_000]))
def test_no_line_of_a_function_harms_its_log(text: bytes, nested: str) -> None:
    lines = _printed(b"{" + text + nested.encode())

    assert len(log(structs.replace(RAN, log=lines))) in (2, 3)


def test_levels_have_their_other_names() -> None:
    assert level_of("critical") is Level.FATAL
    assert level_of("Warning") is Level.WARN
    assert level_of(["x"]) is Level.INFO


def test_a_restore_has_records_of_its_own() -> None:
    run = structs.replace(RAN, init_s=0.0123, is_restore=True)

    events = platform(run, system_level="DEBUG")

    assert list(events) == [
        "platform.restoreStart",
        "platform.restoreRuntimeDone",
        "platform.restoreReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ]
    assert events["platform.restoreReport"]["record"] == {
        "status": "success",
        "metrics": {"durationMs": 12.3},
    }
    metrics = events["platform.report"]["record"]["metrics"]
    assert (metrics["restoreDurationMs"], metrics["billedRestoreDurationMs"]) == (
        12.3,
        13,
    )
    assert "platform.restoreReport" in platform(run), "not of a start on demand"


def test_a_restore_that_took_too_long_is_all_there_is() -> None:
    late = structs.replace(
        RAN, ended=Ended.INIT_TIMED_OUT, init_s=10.0, is_restore=True
    )

    events = platform(late)

    assert list(events) == ["platform.restoreRuntimeDone", "platform.restoreReport"]
    assert events["platform.restoreReport"]["record"]["status"] == "timeout"
