"""A function's log in AWS's JSON format: what the platform says, and which lines of the
function are kept.

Pure. The shapes are those of the Telemetry API's events, to the letter.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from sandlot_engine.model.function import Logging
from sandlot_engine.model.invocation import LogLine, LogSource, Run, Status


class Level(IntEnum):
    """AWS's, in their order."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    FATAL = 5


_ALIASES: Final = {"WARNING": Level.WARN, "CRITICAL": Level.FATAL}
DEFAULT: Final = "INFO"
"""Of both levels, where nobody chose another."""

STATUSES: Final = {
    Status.OK: "success",
    Status.ERROR: "error",
    Status.TIMEOUT: "timeout",
    Status.CRASHED: "failure",
    Status.INIT_FAILED: "error",
    Status.CANCELLED: "failure",
}
"""AWS's words, in what it says of a runtime that is done."""

_MAX_PARSED = 262_144
"""Bytes of a line that is looked into for its level; longer ones are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to say of an invocation that ran."""

    request_id: str
    function: str
    version: str
    isolation_key: str = ""
    """Empty where the function has no tenant isolation."""

    status: str
    """`success`, `error`, `failure` or `timeout`."""

    error_type: str
    duration_us: int
    runtime_us: int
    """Of the duration, without what extensions took after the answer."""

    init_us: int | None
    init_failed: bool
    init_is_within: bool = False
    """Whether the init is a part of the duration."""

    late_init_us: int | None = None
    """What an init before that took, which took too long."""

    is_restore: bool = False
    """Whether the init was a restore from a snapshot."""

    is_provisioned: bool = False
    """Whether the instance was started for what its tenant has provisioned."""

    billed_ms: int
    memory_mb: int
    max_memory_used_mb: int


def lines_of(
    facts: Facts, run: Run, logging: Logging, *, ended: datetime
) -> Iterator[LogLine]:
    """In the order of the text format."""
    told = _Platform(facts.request_id, Level[logging.system_level or DEFAULT])
    began = ended - timedelta(microseconds=facts.duration_us)
    start = {"requestId": facts.request_id, "version": facts.version, **_tenant(facts)}
    if facts.late_init_us is not None:
        yield from _late_init(told, facts, facts.late_init_us, began)
    if facts.init_is_within:
        yield from told(Level.INFO, began, "start", start)
    yield from _init(told, facts, run, logging, began)
    if facts.is_restore and facts.init_failed:
        return  # nothing was invoked
    if not facts.init_is_within:
        yield from told(Level.INFO, began, "start", start)
    yield from _of_handler(run, logging)
    if run.log_bytes_dropped:
        dropped = {
            "reason": _DROPPED,
            "droppedRecords": 1,
            "droppedBytes": run.log_bytes_dropped,
        }
        yield from told(Level.WARN, ended, "logsDropped", dropped)
    has_failed = facts.status != "success"
    level = Level.WARN if has_failed else Level.DEBUG
    answered = began + timedelta(microseconds=facts.runtime_us)
    yield from told(
        level, answered, "runtimeDone", _runtime_done(facts, len(run.payload))
    )
    level = Level.WARN if has_failed else Level.INFO
    yield from told(level, ended, "report", _report(facts))


class _Platform:
    """Writes what the platform says, from a level on."""

    def __init__(self, request_id: str, least: Level) -> None:
        self._request_id = request_id
        self._least = least

    def __call__(
        self, level: Level, time: datetime, kind: str, record: Any
    ) -> Iterator[LogLine]:
        if level >= self._least:
            event = {"time": _stamp(time), "type": f"platform.{kind}", "record": record}
            yield LogLine(
                time=time,
                request_id=self._request_id,
                source=LogSource.PLATFORM,
                text=_compact(event),
            )


def _late_init(
    told: _Platform, facts: Facts, late_us: int, began: datetime
) -> Iterator[LogLine]:
    """That of an instance that was given up before."""
    started = began - timedelta(microseconds=late_us)
    yield from told(Level.DEBUG, started, "initStart", _init_start(facts, "init"))
    record = {**_start_of(facts, "init"), "status": "timeout"}
    yield from told(Level.WARN, began, "initRuntimeDone", record)
    report = {**record, "metrics": {"durationMs": _ms(late_us)}}
    yield from told(Level.WARN, began, "initReport", report)


def _init(
    told: _Platform, facts: Facts, run: Run, logging: Logging, began: datetime
) -> Iterator[LogLine]:
    """Of the instance that was invoked, with what its import printed."""
    init_us = facts.init_us
    imported = (
        line for line in run.log if not line.request_id and _is_kept(line, logging)
    )
    if init_us is None:
        yield from imported
        return
    kind, phase = "restore" if facts.is_restore else "init", "init"
    done = began
    if facts.init_is_within:
        phase, done = "invoke", began + timedelta(microseconds=init_us)
    started = done - timedelta(microseconds=init_us)
    yield from told(Level.DEBUG, started, f"{kind}Start", _init_start(facts, phase))
    yield from imported
    if facts.is_restore and facts.init_failed:
        yield from _of_handler(run, logging)
    level = Level.WARN if facts.init_failed else Level.DEBUG
    status = facts.status if facts.init_failed else "success"
    record = {**_start_of(facts, phase), "status": status}
    if facts.init_failed and facts.error_type:
        record["errorType"] = facts.error_type
    yield from told(level, done, f"{kind}RuntimeDone", record)
    if facts.is_restore:
        # Not of a start on demand.
        level = max(level, Level.INFO)
    report = {**record, "metrics": {"durationMs": _ms(init_us)}}
    yield from told(level, done, f"{kind}Report", report)


def _init_start(facts: Facts, phase: str) -> dict[str, Any]:
    return {
        **_start_of(facts, phase),
        "functionName": facts.function,
        "functionVersion": facts.version,
        "instanceMaxMemory": (facts.memory_mb << 20),
    }


def _start_of(facts: Facts, phase: str) -> dict[str, str]:
    if facts.is_restore:
        return {}
    kind = "provisioned-concurrency" if facts.is_provisioned else "on-demand"
    return {"initializationType": kind, "phase": phase}


def _tenant(facts: Facts) -> dict[str, str]:
    return {"tenantId": facts.isolation_key} if facts.isolation_key else {}


def _of_handler(run: Run, logging: Logging) -> Iterator[LogLine]:
    return (line for line in run.log if line.request_id and _is_kept(line, logging))


_DROPPED: Final = "The function printed more than is kept of one invocation."


def _runtime_done(facts: Facts, produced: int) -> dict[str, Any]:
    record = {"requestId": facts.request_id, "status": facts.status}
    if facts.error_type:
        record["errorType"] = facts.error_type
    metrics = {"durationMs": _ms(facts.runtime_us), "producedBytes": produced}
    return {**record, "metrics": metrics}


def _report(facts: Facts) -> dict[str, Any]:
    metrics: dict[str, float] = {
        "durationMs": _ms(facts.duration_us),
        "billedDurationMs": facts.billed_ms,
        "memorySizeMB": facts.memory_mb,
        "maxMemoryUsedMB": facts.max_memory_used_mb,
    }
    if facts.is_restore:
        metrics["restoreDurationMs"] = _ms(facts.init_us or 0)
        metrics["billedRestoreDurationMs"] = -(-(facts.init_us or 0) // 1_000)
    elif facts.init_us is not None and not facts.init_is_within:
        metrics["initDurationMs"] = _ms(facts.init_us)
    # There a crash is an error like any other.
    status = "error" if facts.status == "failure" else facts.status
    record: dict[str, Any] = {"requestId": facts.request_id, "metrics": metrics}
    record["status"] = status
    if facts.error_type:
        record["errorType"] = facts.error_type
    return {**record, **_tenant(facts)}


def _is_kept(line: LogLine, logging: Logging) -> bool:
    """Text is kept. What is JSON has a level, or is taken for INFO."""
    least = Level[logging.application_level or DEFAULT]
    text = line.text.strip()
    if least <= Level.TRACE or not text.startswith(b"{") or len(text) > _MAX_PARSED:
        return True
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return True
    level = found.get("level", found.get("log_level", DEFAULT))
    return level_of(level) >= least


def level_of(name: object) -> Level:
    """Of a line that says this; INFO where it says nothing that AWS knows."""
    word = name.upper() if isinstance(name, str) else ""
    if word in _ALIASES:
        return _ALIASES[word]
    return Level.__members__.get(word, Level.INFO)


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _stamp(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def _ms(microseconds: int) -> float:
    return microseconds / 1_000
