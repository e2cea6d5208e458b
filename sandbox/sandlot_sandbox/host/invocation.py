"""One invocation, as its instance has it: how long it may take, the pieces of its
answer, and what is told of its end.

What ends it, and when, the instance decides; the first ending counts.
"""

import asyncio
import os
import signal
from typing import Unpack

from sandlot_sandbox import frames
from sandlot_sandbox.host.account import Account, How
from sandlot_sandbox.host.sink import Sink, Stream
from sandlot_sandbox.host.wire import Wire
from sandlot_sandbox.outcome import Ended, Ending

INIT_S = 10.0
"""AWS Lambda's limit on the init phase."""

OUT_OF_MEMORY = "Runtime.OutOfMemory"
"""The error type of what was killed for want of memory, in AWS Lambda's words."""


class Invocation:
    """From its event to its ending; see `Instance.invoke`."""

    __slots__ = (
        "_account",
        "_sink",
        "_stream",
        "_timeout_s",
        "ending",
        "init_counts",
    )

    def __init__(
        self,
        account: Account,
        *,
        timeout_s: float,
        init_counts: bool,
        sink: Sink | None,
    ) -> None:
        self._account = account
        self._timeout_s = timeout_s
        self.init_counts = init_counts
        """Whether `timeout_s` is for the init as well."""

        self._sink = sink
        self._stream: Stream | None = None
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @property
    def limit_s(self) -> float:
        """How long the instance has for what comes next, its init or the answer."""
        return INIT_S if self._is_in_init else self._timeout_s

    @property
    def _is_in_init(self) -> bool:
        return not (self._account.is_ready or self.init_counts)

    @property
    def is_in_pieces(self) -> bool:
        """Whether its answer has begun to come in pieces."""
        return self._stream is not None

    def take_piece(
        self, answer: frames.Answer, wire: Wire
    ) -> tuple[Ended, bytes, str] | None:
        """A piece of its answer; with the last, how it has ended, and with what. Pauses
        the wire while the sink is full."""
        stream = self._stream
        if (stream is None) != (answer.kind == frames.STREAM_BEGIN):
            raise frames.Violation(
                "an answer in pieces without a beginning, or with two"
            )
        if stream is None:
            content_type = frames.shown(answer.payload.decode("utf-8", "replace"))
            self._stream = Stream(self._sink, content_type)
            return None
        if answer.kind == frames.STREAM_PIECE:
            stream.write(answer.payload)
            if (sink := stream.sink_if_full) is not None:
                wire.pause()
                sink.when_room(wire.resume)
            return None
        if answer.error_type:
            return Ended.FAILED, answer.payload, answer.error_type
        return Ended.ANSWERED, stream.whole, ""

    def end(
        self,
        ended: Ended,
        payload: bytes = b"",
        error_type: str = "",
        *,
        peak_kb: int | None = None,
        goes_on: bool = False,
        **how: Unpack[How],
    ) -> None:
        """`peak_kb` is the kernel's, if it was just asked; where it `goes_on`, the
        instance is not idle yet."""
        if self.ending.done():
            return
        self.ending.set_result(
            self._account.ending(
                ended,
                payload,
                error_type,
                peak_kb=peak_kb,
                goes_on=goes_on,
                is_streamed=self._stream is not None and self._sink is not None,
                **how,
            )
        )

    def end_late(self) -> None:
        """Its time is over."""
        self.end(Ended.INIT_TIMED_OUT if self._is_in_init else Ended.TIMED_OUT)

    def end_gone(self, status: int, *, for_memory: bool) -> None:
        """Its instance has ended, with this wait status."""
        if for_memory:
            self.end(Ended.SIGNALED, error_type=OUT_OF_MEMORY, signal=signal.SIGKILL)
        elif os.WIFSIGNALED(status):
            self.end(Ended.SIGNALED, signal=os.WTERMSIG(status))
        else:
            self.end(Ended.EXITED, exit_code=os.WEXITSTATUS(status))

    def fail(self, error: Exception) -> None:
        """Our own failure."""
        if not self.ending.done():
            self.ending.set_exception(error)
