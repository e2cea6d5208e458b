"""What is told of an instance: how long it took, what memory it used, what it printed.

The instance says what happens to it, step by step, and has its invocations' endings
made here. Nothing is decided here: neither what ends an invocation, nor when.
"""

import time
from typing import TypedDict, Unpack

from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.log_pipe import Line, LogPipe
from sandlot_sandbox.host.platform_events import PlatformEvents
from sandlot_sandbox.host.wire import Wire
from sandlot_sandbox.outcome import Ended, Ending, Rest

_KB_PER_MB = 1024


class How(TypedDict, total=False):
    """What some endings have beside the answer or the error; see `Ending`."""

    why: str
    exit_code: int
    signal: int


class Account:
    """The account of one instance. Owns the pipes that it prints to."""

    __slots__ = (
        "_answered_at",
        "_born",
        "_event_at",
        "_events",
        "_extension_log",
        "_follows_reset",
        "_hold",
        "_init_is_told",
        "_ready_at",
        "_request_id",
        "_tenant_id",
        "init_is_within",
        "is_unused",
        "log",
        "memory_mb",
        "peak_kb",
    )

    def __init__(
        self,
        wire: Wire,
        log: int,
        *,
        extension_log: int | None,
        hold: Hold,
        memory_mb: int,
        follows_reset: bool,
    ) -> None:
        """`follows_reset` tells whether it has the /tmp of one that ended at work, as
        its environment was reset."""
        self._hold = hold
        self.memory_mb = memory_mb
        """What it may have."""

        self._follows_reset = follows_reset
        self._events = PlatformEvents(wire, memory_mb=memory_mb)
        self.log = LogPipe(log)
        self._extension_log = None if extension_log is None else LogPipe(extension_log)
        self._born = time.monotonic()
        self._ready_at: float | None = None
        self._event_at = self._answered_at = 0.0
        self._request_id = self._tenant_id = ""
        self._init_is_told = False
        self.is_unused = True
        """Whether there was no invocation yet."""

        self.init_is_within = False
        """Whether its init is a part of the first one, for which it is done again."""

        self.peak_kb = 0
        """The most memory that it used, of what is known of that."""

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._born

    @property
    def is_ready(self) -> bool:
        """Whether it was initialised."""
        return self._ready_at is not None

    # What happens to it.

    def init_began(self) -> None:
        """Ahead of any invocation."""
        self._events.init_started()

    def was_ready_before(self, *, peak_kb: int) -> None:
        """Somebody else had it, and has told of its init."""
        self._ready_at = self._born
        self._init_is_told = True
        self.is_unused = False
        self.peak_kb = peak_kb

    def invoked(
        self, request_id: str, tenant_id: str, *, init_counts: bool, tells_init: bool
    ) -> None:
        """An event is sent to it; see `Instance.invoke`."""
        self._event_at = time.monotonic()
        self._request_id, self._tenant_id = request_id, tenant_id
        if tells_init and self.is_unused:
            self._init_is_told = False
        self.is_unused = False
        is_new = self._ready_at is None
        self.init_is_within = is_new and (init_counts or self._follows_reset)
        if not is_new or self.init_is_within:
            self._events.started(request_id, tenant_id)
        if is_new:
            self._events.init_started(is_within=self.init_is_within)

    def became_ready(self, *, has_event: bool) -> None:
        """It is initialised, for the event that waits or ahead of its first."""
        self._ready_at = self._event_at = time.monotonic()
        self._events.init_done(self._ready_at - self._born)
        if not has_event:
            self._init_is_told = True
        elif not self.init_is_within:
            self._events.started(self._request_id, self._tenant_id)

    def answered(self) -> None:
        """It has answered; its extensions go on."""
        self._answered_at = time.monotonic()

    def note_peak(self, peak_kb: int) -> None:
        """Keep the larger of two counts, up to what it may have: the instance's own,
        which includes what it shares with its zygote, and the kernel's, which does
        not."""
        if peak_kb > self.peak_kb:
            self.peak_kb = min(peak_kb, self.memory_mb * _KB_PER_MB)

    def is_all(self, peak_kb: int) -> bool:
        """Whether that is all the memory that it may have."""
        return peak_kb >= self.memory_mb * _KB_PER_MB

    def took_all_memory(self) -> None:
        self.note_peak(self.memory_mb * _KB_PER_MB)

    # What is told.

    def ending(
        self,
        ended: Ended,
        payload: bytes,
        error_type: str,
        *,
        peak_kb: int | None,
        goes_on: bool,
        is_streamed: bool,
        **how: Unpack[How],
    ) -> Ending:
        """Of its invocation. `peak_kb` is the kernel's, if it was just asked; where it
        `goes_on`, the report comes with `rest`."""
        now = time.monotonic()
        self.note_peak(self._hold.peak_kb() if peak_kb is None else peak_kb)
        init_s = None
        if not self._init_is_told:
            self._init_is_told = True
            init_s = (self._ready_at or now) - self._born
        printed, dropped = self.take_printed()
        took_s = now - self._event_at if self._ready_at else 0.0
        if not self._ready_at:
            self._events.init_failed(now - self._born, ended, error_type)
        if ended is not Ended.INIT_TIMED_OUT:
            # Else it is tried again, and nothing was invoked yet.
            if not (self._ready_at or self.init_is_within):
                self._events.started(self._request_id, self._tenant_id)
            self._events.runtime_done(
                ended, error_type, took_s=took_s, produced=len(payload)
            )
            if not goes_on:
                self._events.reported(took_s=took_s, peak_kb=self.peak_kb)
        return Ending(
            ended=ended,
            payload=payload,
            error_type=error_type,
            init_s=init_s,
            init_is_within=init_s is not None and self.init_is_within,
            is_streamed=is_streamed,
            duration_s=took_s,
            peak_memory_kb=self.peak_kb,
            printed=printed,
            dropped=dropped,
            **how,
        )

    def rest(self, error_type: str) -> Rest:
        """What is told of what went on after the answer."""
        self.note_peak(self._hold.peak_kb())
        printed, dropped = self.take_printed()
        now = time.monotonic()
        self._events.reported(took_s=now - self._event_at, peak_kb=self.peak_kb)
        return Rest(
            duration_s=now - self._answered_at,
            peak_memory_kb=self.peak_kb,
            error_type=error_type,
            printed=printed,
            dropped=dropped,
        )

    def take_printed(self) -> tuple[tuple[Line, ...], int]:
        """What was printed by now, and how many bytes of it were dropped; extensions'
        lines among the function's, as they came."""
        printed, dropped = self.log.take()
        self._events.printed("function", printed, dropped)
        if self._extension_log is None:
            return printed, dropped
        others, lost = self._extension_log.take()
        self._events.printed("extension", others, lost)
        if others:
            printed = tuple(sorted((*printed, *others), key=lambda line: line[0]))
        return printed, dropped + lost

    def close(self) -> None:
        self.log.close()
        if self._extension_log is not None:
            self._extension_log.close()
