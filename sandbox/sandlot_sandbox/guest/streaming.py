"""Answers in pieces: from a handler that is a generator, or that writes to a stream.

    def handler(event, context):          @awslambda.streamify_response
        yield "one "                      def handler(event, stream, context):
        yield b"two"                          stream.write("one ")

Until the first piece the answer can still become an error, as on AWS.
"""

from __future__ import annotations

import json
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MARK = "__sandlot_streams__"
"""What `awslambda.streamify_response` leaves on a function."""

MAX_PIECE = 65_536
"""As `frames.py` has it, which is slow to import for who only wants to call."""

Generator = types.GeneratorType

_BYTES = "application/octet-stream"
_HTTP = "application/vnd.awslambda.http-integration-response"
_END_OF_HEAD = bytes(8)


class Pieces:
    """One answer that is being sent: `announce` takes its content type, `send` a piece
    of at most `MAX_PIECE` bytes."""

    def __init__(
        self, announce: Callable[[bytes], None], send: Callable[[bytes], None]
    ) -> None:
        self._announce = announce
        self._send = send
        self._content_type = _BYTES
        self.has_begun = False

    def set_content_type(self, content_type: str) -> None:
        """Before the first piece. Raises `RuntimeError` after it."""
        if self.has_begun:
            raise RuntimeError("the response has begun; its content type is sent")
        self._content_type = content_type

    def write_head(self, head: dict[str, Any]) -> None:
        """Status code, headers and cookies of an answer over HTTP."""
        self.set_content_type(_HTTP)
        self.write(json.dumps(head).encode() + _END_OF_HEAD)

    def write(self, piece: object) -> None:
        """Waits while the reader is slower than we are. Raises `TypeError` for what is
        neither text nor bytes."""
        data = _bytes_of(piece)
        self.begin()
        for start in range(0, len(data), MAX_PIECE):
            self._send(data[start : start + MAX_PIECE])

    def begin(self) -> None:
        """Send what comes before the pieces, if it was not."""
        if not self.has_begun:
            self.has_begun = True
            self._announce(self._content_type.encode())


class ResponseStream:
    """What a handler with `awslambda.streamify_response` writes to."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._is_open = True

    def set_content_type(self, content_type: str) -> None:
        """Before the first `write`."""
        self._pieces.set_content_type(content_type)

    def write(self, piece: object) -> None:
        """Text or bytes. Waits while the caller reads more slowly than this writes."""
        if not self._is_open:
            raise ValueError("the response stream is closed")
        self._pieces.write(piece)

    def close(self) -> None:
        """Nothing more comes; the handler may still have work to do."""
        self._is_open = False

    end = close


def run(generator: types.GeneratorType[Any, Any, Any], pieces: Pieces) -> None:
    """All that it yields. Raises what it raises."""
    for number, piece in enumerate(generator):
        if number == 0 and isinstance(piece, dict):
            pieces.write_head(piece)
        else:
            pieces.write(piece)
    pieces.begin()


def call(handler: Any, event: object, context: object, pieces: Pieces) -> None:
    """A handler that writes to a stream. Raises what it raises."""
    handler(event, ResponseStream(pieces), context)
    pieces.begin()


def _bytes_of(piece: object) -> bytes:
    if isinstance(piece, str):
        return piece.encode("utf-8", "surrogatepass")
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(
        "a streamed response is made of str and bytes, not of"
        f" {type(piece).__name__}; for JSON, yield json.dumps(…)"
    )
