"""Where an answer goes that is sent while it is made."""

from collections.abc import Callable
from typing import Protocol

from sandlot_sandbox import frames

MAX_STREAMED = 209_715_200
"""Bytes of such an answer: AWS's 200 MB."""


class Sink(Protocol):
    """A reader, who may be slow: then nothing more is taken from the function."""

    @property
    def is_full(self) -> bool:
        """Whether to wait before the next piece. What comes all the same is taken."""
        ...

    def begin(self, content_type: str) -> None:
        """Once, before the first piece."""
        ...

    def write(self, piece: bytes) -> None: ...

    def when_room(self, call: Callable[[], None]) -> None:
        """Call that once, as soon as it is not full any more."""
        ...


class Stream:
    """One answer on its way: to a sink, or kept whole for who asked for all at once."""

    def __init__(self, sink: Sink | None, content_type: str) -> None:
        self._sink = sink
        self._size = 0
        self._kept = bytearray()
        if sink is not None:
            sink.begin(content_type)

    @property
    def whole(self) -> bytes:
        """What has no sink."""
        return bytes(self._kept)

    @property
    def sink_if_full(self) -> Sink | None:
        return self._sink if self._sink is not None and self._sink.is_full else None

    def write(self, piece: bytes) -> None:
        """Raises `frames.Oversize`."""
        self._size += len(piece)
        limit = frames.MAX_PAYLOAD if self._sink is None else MAX_STREAMED
        if self._size > limit:
            raise frames.Oversize(f"an answer of more than {limit} bytes")
        if self._sink is None:
            self._kept += piece
        else:
            self._sink.write(piece)
