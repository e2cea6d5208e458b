"""A streamed answer as head and body, with what can go wrong on the way."""

from collections.abc import AsyncIterator

from sandlot_engine.gateway.urls.answers import Malformed, Response
from sandlot_engine.gateway.urls.streams import (
    INTEGRATION,
    MAX_STREAM,
    Prelude,
    head_without_prelude,
)
from sandlot_engine.invocation.streamed import Streamed


class Cut(Exception):
    """What was sent is not all, and the client must see that: the connection ends
    without an end of the body."""


class Streaming:
    """Reads a `Streamed`: `head` first, then `body` to its end."""

    def __init__(self, streamed: Streamed) -> None:
        self._streamed = streamed
        self._first = b""
        self._sent = 0

    async def head(self) -> Response:
        """Wait until it is there. Raises `Malformed`, and what the pieces raise."""
        if self._streamed.content_type != INTEGRATION:
            return head_without_prelude(self._streamed.content_type)
        prelude = Prelude()
        async for piece in self._streamed.pieces:
            if found := prelude.take(piece):
                head, self._first = found
                return head
        raise Malformed("it ended before its head did")

    async def body(self) -> AsyncIterator[bytes]:
        """Raises `Cut` where it breaks, or is over `MAX_STREAM`."""
        if self._first:
            yield self._counted(self._first)
        try:
            async for piece in self._streamed.pieces:
                if piece:
                    yield self._counted(piece)
        except Exception as error:
            raise Cut from error

    def _counted(self, piece: bytes) -> bytes:
        self._sent += len(piece)
        if self._sent > MAX_STREAM:
            raise Cut
        return piece
