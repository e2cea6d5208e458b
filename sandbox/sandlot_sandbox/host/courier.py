"""A courier: a process in an instance's cell that takes telemetry to its extensions,
where all of them are internal.

External ones have the starter for that. Without any it has become the program; so the
zygote forks once more into the cell, when the first extension subscribes. What that
takes is kept until the init is over: later nobody may subscribe.
"""

import os
import socket
from collections.abc import Callable, Sequence

from sandlot_sandbox import frames
from sandlot_sandbox.host.pairs import pair_with_jail
from sandlot_sandbox.host.starter_link import (
    MAX_BEHIND,
    NoteDelivered,
    read_delivered,
)
from sandlot_sandbox.host.wire import FrameWire, Hears

_CHANNEL_AT = 3
"""Among the descriptors that go with a fork."""


class WayIn:
    """Duplicates of what went with an instance's fork. Owns them."""

    def __init__(
        self,
        fork: Sequence[int],
        *,
        order: Callable[[Sequence[int]], None],
        on_close: Callable[[int], None],
    ) -> None:
        """`order` has a courier forked, and owns what it is given; `on_close` is told
        how many files were open until then."""
        self._order = order
        self._on_close = on_close
        self._kept: list[int] = []
        try:
            for at, fd in enumerate(fork):
                if at != _CHANNEL_AT:
                    self._kept.append(os.dup(fd))
        except OSError:
            # We have too many open: then this one has none.
            _close(self._kept)
            self._kept = []
        self.files = len(self._kept)
        """How many stay open until it is closed."""

    def call(self) -> socket.socket | None:
        """Have a courier forked, once: the channel to it, or None where that cannot be.
        It closes its end where nothing came of it."""
        if not self._kept:
            return None
        try:
            ours, theirs = pair_with_jail()
        except OSError:
            return None
        kept, self._kept = self._kept, []
        kept.insert(_CHANNEL_AT, theirs.detach())
        self._order(kept)
        self.close()
        return ours

    def close(self) -> None:
        """Nobody may be sent for any more."""
        _close(self._kept)
        self._kept = []
        files, self.files = self.files, 0
        if files:
            self._on_close(files)


class CourierLink:
    """The channel to it, which it owns. What comes up is the tenant's word."""

    expects_answer = True

    def __init__(
        self, channel: socket.socket, hears: Hears, note_delivered: NoteDelivered
    ) -> None:
        self._hears = hears
        self._note_delivered = note_delivered
        self._wire = FrameWire(channel)
        self._wire.open(self)

    def order(self, kind: bytes, destination: str, body: bytes) -> None:
        """Never waits: what does not fit is sent later."""
        if self._wire.behind > MAX_BEHIND:
            self._hears.note_violation(frames.Violation("orders that nobody takes"))
            return
        self._wire.send_bytes(frames.encode_order(kind, destination, body))

    def close(self) -> None:
        self._wire.close()

    # What the wire tells.

    def hear(self, answer: frames.Answer) -> None:
        if answer.kind != frames.DELIVERED:
            raise frames.Violation(f"an answer of kind {answer.kind} of a courier")
        read_delivered(answer, self._note_delivered)

    def note_violation(self, violation: frames.Violation) -> None:
        self._hears.note_violation(violation)

    def note_hung_up(self) -> None:
        """Nothing more arrives. Who subscribed loses events, as if it were too slow."""

    def note_settled(self) -> None: ...

    def note_runtime_ended(self, status: int) -> None: ...

    def note_crash(self, error_type: str, why: str = "") -> None: ...


def _close(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
