"""The channel to an instance's first process: the starter, which becomes the program,
or stays as the parent of it and of its extensions."""

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Protocol

from sandlot_sandbox import frames
from sandlot_sandbox.host.program_api import ProgramApi
from sandlot_sandbox.host.telemetry import MAX_KEPT
from sandlot_sandbox.host.wire import FrameWire, Hears

MAX_BEHIND = 2 * MAX_KEPT
"""Bytes of orders that may wait. Telemetry on its way is less; but what is said to have
been delivered is not counted as that, and who says so may not have taken it."""


class StarterLink:
    """Owns the channel. What comes up is the tenant's word: extensions and program run
    beside the starter, as its equals."""

    expects_answer = True

    def __init__(
        self, channel: socket.socket, api: ProgramApi, note_delivered: "NoteDelivered"
    ) -> None:
        self._note_delivered = note_delivered
        self._wire = FrameWire(channel)
        self._api = api
        self._hears: Hears | None = None
        self._is_parent = False
        self._orders: dict[int, Callable[[frames.Answer], None]] = {
            frames.INIT_ERROR: self._trouble,
            frames.EXTENSIONS: self._extensions,
            frames.RUNTIME_ENDED: self._runtime_ended,
            frames.DELIVERED: self._delivered,
        }

    @property
    def is_parent(self) -> bool:
        """Whether it stays: then it takes orders."""
        return self._is_parent

    def open(self, hears: Hears) -> None:
        self._hears = hears
        self._wire.open(self)

    def read(self) -> None:
        self._wire.read()

    def order(self, kind: bytes, destination: str = "", body: bytes = b"") -> None:
        """Never waits: what does not fit is sent later."""
        if not self._is_parent:
            return
        if self._wire.behind > MAX_BEHIND:
            self.note_violation(frames.Violation("orders that nobody takes"))
        else:
            self._wire.send_bytes(frames.encode_order(kind, destination, body))

    def close(self) -> None:
        self._hears = None
        self._wire.close()

    # What the wire tells.

    def hear(self, answer: frames.Answer) -> None:
        take = self._orders.get(answer.kind)
        if take is None:
            raise frames.Violation(f"an answer of kind {answer.kind} on the channel")
        take(answer)

    def note_violation(self, violation: frames.Violation) -> None:
        if self._hears is not None:
            self._hears.note_violation(violation)

    def note_hung_up(self) -> None:
        """It closes its channel when it becomes the program, and that is no end."""

    def note_settled(self) -> None: ...

    def note_runtime_ended(self, status: int) -> None: ...

    def note_crash(self, error_type: str, why: str = "") -> None: ...

    # Of the kinds above.

    def _trouble(self, answer: frames.Answer) -> None:
        if self._hears is None:
            return
        if self._api.is_initialising:
            self._hears.hear(answer)
        else:
            self._hears.note_crash(answer.error_type, _why(answer.payload))

    def _extensions(self, answer: frames.Answer) -> None:
        names = answer.payload.split(b"\0", maxsplit=frames.MAX_PIECE)
        self._is_parent = True
        self._api.expect([name.decode("utf-8", "replace") for name in names])

    def _runtime_ended(self, answer: frames.Answer) -> None:
        text = answer.payload[:_MAX_STATUS]
        status = int(text) if text.isdigit() else int(signal.SIGKILL)
        if not (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            status = int(signal.SIGKILL)
        if self._hears is not None:
            self._hears.note_runtime_ended(status)

    def _delivered(self, answer: frames.Answer) -> None:
        read_delivered(answer, self._note_delivered)


class NoteDelivered(Protocol):
    """Hears what became of a batch of telemetry."""

    def __call__(self, number: int, *, is_delivered: bool) -> None: ...


def read_delivered(answer: frames.Answer, note: NoteDelivered) -> None:
    """What a `DELIVERED` says; nothing where that is no number."""
    number = answer.payload[1 : 1 + _MAX_STATUS]
    if number.isdigit():
        note(int(number), is_delivered=answer.payload.startswith(b"+"))


_MAX_STATUS = 5
_MAX_TROUBLE = 65_536


def _why(payload: bytes) -> str:
    """What a starter says of an extension that ended."""
    try:
        said = json.loads(payload[:_MAX_TROUBLE])["errorMessage"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return frames.shown(str(said))
