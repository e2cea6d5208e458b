"""How an instance is spoken to: an event down, answers up.

One of ours speaks the language of `frames.py` on its channel. One that runs somebody's
program speaks Lambda's Runtime API, see `runtime_api.py`. `Instance` knows neither.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from sandlot_sandbox import frames
from sandlot_sandbox.host.extensions_api import NOBODY, Identity, Shutdown

_NOTHING = memoryview(b"")

_READ = 1 << 16
"""Most answers fit, and from here on every read would map memory of its own."""

MAX_AT_ONCE = 128
"""Frames that are heard without a break: as many as a reading has of half a kilobyte.
Thousands of smaller ones would be all that the engine does for some milliseconds, again
and again."""

REST_S = 0.002
"""The break; who says less does not come to it."""

_ALL = _READ
"""Frames of a reading: none is a byte."""


class Hears(Protocol):
    """Who is told of what comes up; it may close the wire meanwhile."""

    @property
    def expects_answer(self) -> bool: ...

    def hear(self, answer: frames.Answer) -> None:
        """Raises `frames.Violation` where that was not asked for."""
        ...

    def note_violation(self, violation: frames.Violation) -> None:
        """Nothing more is heard from then on."""
        ...

    def note_crash(self, error_type: str, why: str = "") -> None:
        """Part of it has ended, or given up, and it cannot go on."""
        ...

    def note_settled(self) -> None:
        """What went on after the last answer is over."""
        ...

    def note_runtime_ended(self, status: int) -> None:
        """The program has ended with this wait status, and not all beside it."""
        ...

    def note_hung_up(self) -> None:
        """The other end is closed."""
        ...


class Wire(Protocol):
    """Opened once, by whoever hears."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is half said, either way."""
        ...

    @property
    def listens(self) -> bool:
        """Whether `tell` may be of use to anybody."""
        ...

    @property
    def identity(self) -> Identity:
        """Of the function, as its extensions know it."""
        ...

    @property
    def is_settled(self) -> bool:
        """Whether nothing in there works on after the last answer."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its next event, and has nothing else to do."""
        ...

    @property
    def holds_event(self) -> bool:
        """Whether the event that was sent is surely unseen: nobody has asked for it."""
        ...

    @property
    def shutdown_s(self) -> float:
        """How long it may live on when it is to end; 0 where it need not know."""
        ...

    def tell(
        self,
        kind: str,
        name: str,
        record: Mapping[str, Any] | str,
        at: float | None = None,
    ) -> None:
        """For whoever in there listens to the Telemetry API: see `Telemetry.note`."""
        ...

    def end_runtime(self, *, gently: bool) -> bool:
        """Have the program end; whether `Hears` will be told that it has."""
        ...

    def shut_down(self, reason: Shutdown, deadline_ms: int) -> bool:
        """Tell what is left; whether anybody wanted to know."""
        ...

    def open(self, hears: Hears) -> None: ...

    def send(self, header: frames.EventHeader, payload: bytes) -> None:
        """The next event. Never waits: what does not fit is sent later."""
        ...

    def shed(self) -> bool:
        """Ask for memory that can be given back; whether there will be an answer."""
        ...

    def look(self) -> bool:
        """Ask for its footprint; whether there will be an answer."""
        ...

    def take_footprint(self, pages: bytes) -> None:
        """What another has told, for one that stands by."""
        ...

    def read(self) -> None:
        """Have heard, when this returns, what has come by now."""
        ...

    def pause(self) -> None:
        """Take nothing more of the answer that is coming in."""
        ...

    def resume(self) -> None:
        """Go on; no harm where it was not paused, or is closed."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class FrameWire:
    """Frames on a stream socket, which it owns. There are thousands, most of them
    idle."""

    __slots__ = (
        "_channel",
        "_hears",
        "_is_deaf",
        "_is_lent",
        "_is_paused",
        "_loop",
        "_reader",
        "_rest",
        "_unsent",
    )

    listens = False
    identity = NOBODY
    is_settled = True
    is_waiting = True
    holds_event = False  # what lies in its socket, nobody can tell
    shutdown_s = 0.0

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._reader = frames.AnswerReader()
        self._rest: asyncio.TimerHandle | None = None
        """When what has been received is gone on with; nothing is received before."""

        self._unsent = _NOTHING
        self._hears: Hears | None = None
        self._is_deaf = False
        self._is_paused = False
        self._is_lent = False

    @property
    def is_quiet(self) -> bool:
        return self._reader.is_empty and not self._unsent

    @property
    def behind(self) -> int:
        """Bytes that the other end has not taken yet."""
        return len(self._unsent)

    def open(self, hears: Hears) -> None:
        self._hears = hears
        self._loop.add_reader(self._channel, self._read_some)

    def send(self, header: frames.EventHeader, payload: bytes) -> None:
        self.send_bytes(frames.encode_event(header, payload))

    def shed(self) -> bool:
        if self._is_lent or not self.is_quiet:
            return False
        self.send_bytes(frames.SHED)
        return True

    def look(self) -> bool:
        if self._is_lent or not self.is_quiet:
            return False
        self.send_bytes(frames.LOOK)
        return True

    def take_footprint(self, pages: bytes) -> None:
        self.send_bytes(frames.encode_footprint(pages))

    def tell(
        self,
        kind: str,
        name: str,
        record: Mapping[str, Any] | str,
        at: float | None = None,
    ) -> None:
        """Nobody listens."""

    def end_runtime(self, *, gently: bool) -> bool:
        del gently
        return False

    def shut_down(self, reason: Shutdown, deadline_ms: int) -> bool:
        del reason, deadline_ms
        return False

    def send_bytes(self, frame: bytes) -> None:
        """Never waits: what does not fit is sent later."""
        if self._unsent:
            self._unsent = memoryview(bytes(self._unsent) + frame)
            return
        try:
            sent = self._channel.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it is dying; the reader tells how
        if sent < len(frame):
            self._unsent = memoryview(frame)[sent:]
            self._loop.add_writer(self._channel, self._send_rest)

    def _send_rest(self) -> None:
        try:
            self._unsent = self._unsent[self._channel.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = _NOTHING
        if not self._unsent:
            self._loop.remove_writer(self._channel)

    def read(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._go_on(_ALL)
        self._receive(most=_ALL)

    def _read_some(self) -> None:
        self._receive(most=MAX_AT_ONCE)

    def _receive(self, *, most: int) -> None:
        if self._is_deaf or self._is_paused or self._is_lent or self._hears is None:
            return
        try:
            data = self._channel.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._stop_reading()
            self._hears.note_hung_up()
            return
        self._reader.feed(data)
        self._hear(self._hears, most=most)

    def _hear(self, hears: Hears, *, most: int) -> None:
        try:
            heard = 0
            while (answer := self._reader.take()) is not None:
                hears.hear(answer)
                heard += 1
                if heard == most and not self._reader.is_empty:
                    self._rest_a_while()
                    return
            if not (self._reader.is_empty or hears.expects_answer):
                raise frames.Violation("part of an answer that nobody asked for")
        except frames.Violation as violation:
            # Until it is dead it may send as much as it likes; nobody listens.
            self._stop_reading()
            self._reader = frames.AnswerReader()
            hears.note_violation(violation)

    def _rest_a_while(self) -> None:
        """Who says so much at once has others wait, and now waits for them."""
        if not self._is_deaf:
            self._loop.remove_reader(self._channel)
            self._rest = self._loop.call_later(REST_S, self._go_on, MAX_AT_ONCE)

    def _go_on(self, most: int) -> None:
        self._rest = None
        if self._is_deaf or self._hears is None:
            return
        self._hear(self._hears, most=most)
        if self._rest is None and not self._is_deaf:
            self._listen()

    def _listen(self) -> None:
        if not (self._is_paused or self._is_lent):
            self._loop.add_reader(self._channel, self._read_some)

    def pause(self) -> None:
        if not self._is_deaf:
            self._is_paused = True
            self._loop.remove_reader(self._channel)

    def resume(self) -> None:
        if self._is_paused and not self._is_deaf:
            self._is_paused = False
            if self._rest is None:
                self._listen()

    def lend(self) -> int | None:
        """The descriptor, which stays ours, for somebody else who speaks on it until
        `take_back`: nothing is read here meanwhile. None where something is half said,
        or the last answer's taker has still to make room."""
        if self._is_deaf or self._is_paused or not self.is_quiet:
            return None
        self._is_lent = True
        self._loop.remove_reader(self._channel)
        return self._channel.fileno()

    def take_back(self) -> None:
        """Nobody else reads it any more."""
        if self._is_lent:
            self._is_lent = False
            if not self._is_deaf:
                self._listen()

    def _stop_reading(self) -> None:
        self._is_deaf = True
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._loop.remove_reader(self._channel)

    def close(self) -> None:
        self._stop_reading()
        self._loop.remove_writer(self._channel)
        self._channel.close()
