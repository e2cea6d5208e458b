"""What extensions are told of their instance's life, in the Telemetry API's words."""

import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.host.wire import Wire
from sandlot_sandbox.outcome import Ended

_STATUS = {
    Ended.ANSWERED: "success",
    Ended.FAILED: "error",
    Ended.INIT_FAILED: "error",
    Ended.TIMED_OUT: "timeout",
    Ended.INIT_TIMED_OUT: "timeout",
}
_NO_ERROR: Mapping[str, str] = MappingProxyType({})
_INIT, _INVOKE = "init", "invoke"
"""AWS's phases: an init of its own, and one that an invocation has in it."""


class PlatformEvents:
    """The platform events of one instance. Where nobody listens, nothing is made."""

    __slots__ = (
        "_born",
        "_error",
        "_init_s",
        "_memory_mb",
        "_phase",
        "_request_id",
        "_status",
        "_tenant",
        "_wire",
        "_within_s",
    )

    def __init__(self, wire: Wire, *, memory_mb: int) -> None:
        self._wire = wire
        self._memory_mb = memory_mb
        self._request_id = ""
        self._tenant: Mapping[str, str] = {}
        self._error: Mapping[str, str] = _NO_ERROR
        self._status = ""
        self._born = time.time() if wire.listens else 0.0
        self._phase = ""
        self._init_s: float | None = None
        self._within_s = 0.0
        """What the init took, where it is a part of the invocation."""

    def init_started(self, *, is_within: bool = False) -> None:
        """It has begun when this was made; whether an invocation has it in it, is known
        only now. Said once."""
        if self._phase or not self._wire.listens:
            return
        self._phase = _INVOKE if is_within else _INIT
        identity = self._wire.identity
        told = {
            **self._of_init,
            "functionName": identity.name,
            "functionVersion": identity.version,
            "instanceMaxMemory": self._memory_mb << 20,
        }
        self._tell("initStart", told, self._born)

    def init_done(self, took_s: float) -> None:
        """It may be the first that is said."""
        self.init_started()
        self._init_ended(took_s, {"status": "success"})

    def init_failed(self, took_s: float, ended: Ended, error_type: str) -> None:
        """The same."""
        self.init_started()
        status = _STATUS.get(ended, "failure")
        error = {"errorType": error_type} if error_type else {}
        self._init_ended(took_s, {"status": status, **error})

    def _init_ended(self, took_s: float, how: Mapping[str, str]) -> None:
        if not self._wire.listens:
            return
        if self._phase == _INVOKE:
            self._within_s = took_s
        else:
            self._init_s = took_s
        done = {**self._of_init, **how}
        self._tell("initRuntimeDone", done)
        self._tell("initReport", {**done, "metrics": {"durationMs": _ms(took_s)}})

    @property
    def _of_init(self) -> dict[str, Any]:
        kind = self._wire.identity.initialization
        return {"initializationType": kind, "phase": self._phase}

    def started(self, request_id: str, tenant_id: str = "") -> None:
        self._request_id = request_id
        if not self._wire.listens:
            return
        self._tenant = {"tenantId": tenant_id} if tenant_id else {}
        told = {"requestId": request_id, "version": self._wire.identity.version}
        self._tell("start", {**told, **self._tenant})

    def runtime_done(
        self, ended: Ended, error_type: str, *, took_s: float, produced: int
    ) -> None:
        if not self._wire.listens:
            return
        self._status = _STATUS.get(ended, "failure")
        self._error = {"errorType": error_type} if error_type else {}
        took_s += self._within_s
        metrics = {"durationMs": _ms(took_s), "producedBytes": produced}
        told = {"requestId": self._request_id, "status": self._status, **self._error}
        self._tell("runtimeDone", {**told, "metrics": metrics})

    def reported(self, *, took_s: float, peak_kb: int) -> None:
        """After the last of it."""
        if not self._wire.listens:
            return
        init_s, self._init_s = self._init_s, None
        took_s += self._within_s
        self._within_s = 0.0
        billed_us = round((took_s + (init_s or 0.0)) * 1_000_000)
        metrics: dict[str, float] = {
            "durationMs": _ms(took_s),
            "billedDurationMs": -(-billed_us // 1_000),
            "memorySizeMB": self._memory_mb,
            "maxMemoryUsedMB": -(-peak_kb // 1_024),
        }
        if init_s is not None:
            metrics["initDurationMs"] = _ms(init_s)
        status = "error" if self._status == "failure" else self._status
        told = {"requestId": self._request_id, "status": status, **self._error}
        self._tell("report", {**told, "metrics": metrics, **self._tenant})

    def printed(self, kind: str, lines: Iterable[Line], dropped: int) -> None:
        """`kind` is who printed: the `function`, or an `extension`."""
        if not self._wire.listens:
            return
        for moment, text in lines:
            self._wire.tell(kind, kind, text.decode("utf-8", "replace"), moment)
        if dropped:
            reason = f"The {kind} printed more than is kept of one invocation."
            told = {"reason": reason, "droppedRecords": 1, "droppedBytes": dropped}
            self._tell("logsDropped", told)

    def _tell(self, name: str, record: dict[str, Any], at: float | None = None) -> None:
        self._wire.tell("platform", f"platform.{name}", record, at)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 3)
