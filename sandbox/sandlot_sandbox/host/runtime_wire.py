"""The sockets of the Runtime API: what an instance's program connects to, in the
instance's own network, where nobody else can.

How many connections there are, and how much they may say at once, is bounded here, for
all of an instance together. What is said by one, its `Connection` reads.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandlot_sandbox import frames
from sandlot_sandbox.host.courier import CourierLink, WayIn
from sandlot_sandbox.host.extensions_api import NOBODY, Identity, Shutdown
from sandlot_sandbox.host.program_api import ProgramApi
from sandlot_sandbox.host.program_connection import Connection
from sandlot_sandbox.host.starter_link import StarterLink
from sandlot_sandbox.host.telemetry import Room
from sandlot_sandbox.host.wire import Hears

MAX_CONNECTIONS = 32
"""Of one instance; those beyond are closed at once."""

MAX_AT_ONCE = 64
"""Things that a program says, calls and parts of calls, that are heard without a break,
of all its connections together: each takes ten microseconds, or a hundred, and a
reading may have ten thousand."""

REST_S = 0.0025
"""The break; 4,000 invocations in a second do not come to it."""

_OF_CONNECTION = 8
"""So many of them a connection counts for."""

LONG_S = 0.002
"""Of our processor, that a program may have for nothing: to hear what is refused, or
was made to take long. Time gives it back, a fifth to all who have such together."""

USUAL_S, USUAL_OF_BYTE_S = 0.0005, 5e-9
"""What one reading may take, of a call or of a part of one: some three times as long as
it does."""

_DUTY = 4
"""How many times as long as it took to hear it a program's break is at least, and that
again for each other that had one not long ago: so that all those who have no end of
things to say, which may be a thousand of one tenant's, have a fifth of our time."""

NOT_LONG_S = 1.0

_ROOM = Room()
"""For the telemetry of all instances."""

_talkers: "dict[RuntimeWire, float]" = {}
"""Who had something for nothing, and until when that counts."""


class RuntimeWire:
    """A listening socket, which it owns, and the channel to the instance's first
    process, which says what kept it from running the program, and minds extensions."""

    def __init__(
        self,
        channel: socket.socket,
        listener: socket.socket,
        identity: Identity = NOBODY,
        *,
        way_in: WayIn | None = None,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self.identity = identity
        self._api = ProgramApi(identity, self, _ROOM)
        self._starter = StarterLink(channel, self._api, self._note_delivered)
        self._way_in = way_in
        self._courier: CourierLink | None = None
        self._sending: asyncio.TimerHandle | None = None
        """Until more telemetry is due."""
        self._connections: set[Connection] = set()
        self._heard = 0
        self._heard_s = 0.0
        """Of our processor, without a break."""

        self._wasted_s, self._wasted_at = 0.0, 0.0
        """What of it was for nothing, and not given back by then."""

        self._was_refused = False
        self._until = 0.0
        """When the break is over, or what was said so far is forgotten."""

        self._has_break = False
        self._accepting: asyncio.TimerHandle | None = None
        """When more connections are accepted, if not at once."""
        self._hears: Hears | None = None
        self.is_paused = False
        self.kept = 0
        """Bytes of unfinished calls."""

    @property
    def is_quiet(self) -> bool:
        # A call out of turn is refused, and is no more than that.
        return True

    @property
    def listens(self) -> bool:
        return self._api.telemetry.has_listeners

    @property
    def is_settled(self) -> bool:
        return self._api.is_settled

    @property
    def is_waiting(self) -> bool:
        return self._api.runtime.is_waiting

    @property
    def holds_event(self) -> bool:
        return self._api.runtime.holds_event

    @property
    def shutdown_s(self) -> float:
        return self._api.shutdown_s

    def end_runtime(self, *, gently: bool) -> bool:
        self._starter.order(
            frames.END_RUNTIME if gently else frames.KILL_RUNTIME,
            body="\0".join(self._api.extensions.heirs).encode("utf-8", "replace"),
        )
        return self._starter.is_parent

    def tell(
        self,
        kind: str,
        name: str,
        record: Mapping[str, Any] | str,
        at: float | None = None,
    ) -> None:
        telemetry = self._api.telemetry
        telemetry.note(kind, name, record, now=time.monotonic(), at=at)
        self.has_telemetry()

    def shut_down(self, reason: Shutdown, deadline_ms: int) -> bool:
        # Before it, so that they have what came last.
        self._send_telemetry(all_of_them=True)
        return self._api.shut_down(reason, deadline_ms)

    def open(self, hears: Hears) -> None:
        self._hears = hears
        self._starter.open(hears)
        self._loop.add_reader(self._listener, self._accept_some)

    def shed(self) -> bool:
        """A program's memory is its own."""
        return False

    def look(self) -> bool:
        """It is no clone."""
        return False

    def take_footprint(self, pages: bytes) -> None:
        """It is no clone."""

    def send(self, header: frames.EventHeader, payload: bytes) -> None:
        self._api.send(header, payload)

    def read(self) -> None:
        self._starter.read()
        self._accept(is_all=True)
        for connection in list(self._connections):
            connection.read()

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        for connection in list(self._connections):
            connection.go_on()

    def close(self) -> None:
        self._hears = None
        _talkers.pop(self, None)
        if self._sending is not None:
            self._sending.cancel()
        self._api.telemetry.close()
        self._starter.close()
        self._close_way_in()
        if self._courier is not None:
            self._courier.close()
        if self._accepting is not None:
            self._accepting.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for connection in list(self._connections):
            connection.close()

    def may_go_on(self, weight: int = 1) -> bool:
        """Whether one thing more may be heard without a break; or one that counts for
        some."""
        now = self._loop.time()
        if now >= self._until:
            self._heard, self._heard_s = 0, 0.0
            self._until, self._has_break = now + REST_S, False
        self._heard += weight
        return self._heard <= MAX_AT_ONCE

    def note_refusal(self) -> None:
        self._was_refused = True

    def note_took(self, cpu_s: float, size: int) -> None:
        self._heard_s += cpu_s
        usual_s = 0.0 if self._was_refused else USUAL_S + size * USUAL_OF_BYTE_S
        wasted_s, self._was_refused = cpu_s - usual_s, False
        if wasted_s > 0.0:
            self._waste(wasted_s)
        if self._heard > MAX_AT_ONCE and not self._has_break:
            self._break_off(self._heard_s)

    def _waste(self, cpu_s: float) -> None:
        now = self._loop.time()
        back_s = (now - self._wasted_at) / ((1 + _DUTY) * self._count_talkers(now))
        self._wasted_s = max(0.0, self._wasted_s - back_s) + cpu_s
        self._wasted_at = now
        if self._wasted_s > LONG_S:
            self._break_off(self._wasted_s)

    def _break_off(self, took_s: float) -> None:
        now = self._loop.time()
        self._until = max(self._until, now + _DUTY * self._count_talkers(now) * took_s)
        self._heard, self._has_break = MAX_AT_ONCE, True
        self._heard_s = self._wasted_s = 0.0
        _talkers[self] = self._until + NOT_LONG_S

    def _count_talkers(self, now: float) -> int:
        """How many there are, of which this is one."""
        _talkers[self] = max(_talkers.get(self, 0.0), now + NOT_LONG_S)
        for one in [one for one, until in _talkers.items() if until <= now]:
            del _talkers[one]
        return len(_talkers)

    def after_break(self, go_on: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_at(max(self._until, self._loop.time() + REST_S), go_on)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def has_telemetry(self) -> None:
        due = self._api.telemetry.next_due()
        if due is not None and self._sending is None and self._hears is not None:
            delay_s = max(0.0, due - time.monotonic())
            self._sending = self._loop.call_later(delay_s, self._send_telemetry)

    def _send_telemetry(self, *, all_of_them: bool = False) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        now = time.monotonic()
        batches = self._api.telemetry.take_due(now, all_of_them=all_of_them)
        for batch in batches:
            where = f"{batch.number} {batch.destination}"
            takes = self._courier or self._starter
            takes.order(frames.DELIVER, where, batch.body)
        self.has_telemetry()

    def _note_delivered(self, number: int, *, is_delivered: bool) -> None:
        now = time.monotonic()
        telemetry = self._api.telemetry
        telemetry.note_delivered(number, is_delivered=is_delivered, now=now)
        self.has_telemetry()

    # What the two APIs tell.

    def answered(self, answer: frames.Answer) -> None:
        if self._hears is None:
            return
        if answer.kind == frames.READY:
            self._close_way_in()
        try:
            self._hears.hear(answer)
        except frames.Violation as violation:
            self._hears.note_violation(violation)

    def may_start(self) -> None:
        self._starter.order(frames.START_RUNTIME)

    def can_deliver(self) -> bool:
        if self._starter.is_parent or self._courier is not None:
            return True
        channel = None if self._way_in is None else self._way_in.call()
        if channel is None or self._hears is None:
            return False
        self._courier = CourierLink(channel, self._hears, self._note_delivered)
        return True

    def _close_way_in(self) -> None:
        if self._way_in is not None:
            self._way_in.close()
            self._way_in = None

    def settled(self) -> None:
        if self._hears is not None:
            self._hears.note_settled()

    def asked(self) -> None:
        self.settled()

    def failed(self, error_type: str, why: str) -> None:
        if self._hears is not None:
            self._hears.note_crash(error_type, why)

    def _accept_some(self) -> None:
        self._accept(is_all=False)

    def _accept(self, *, is_all: bool) -> None:
        # Whoever comes as fast as we accept must not keep us from all others.
        for _ in range(MAX_CONNECTIONS):
            if self._hears is None:
                return
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return  # none is left, or there is no room for it here
            if len(self._connections) < MAX_CONNECTIONS:
                self._connections.add(Connection(accepted, self._api, self))
            else:
                accepted.close()
            if not (is_all or self.may_go_on(_OF_CONNECTION)):
                self._accept_later()
                return

    def _accept_later(self) -> None:
        if self._hears is not None and self._accepting is None:
            self._loop.remove_reader(self._listener)
            self._accepting = self.after_break(self._accept_again)

    def _accept_again(self) -> None:
        self._accepting = None
        self._loop.add_reader(self._listener, self._accept_some)
