"""How a streamed answer says its status and headers. Pure.

    {"statusCode": 200, "headers": {…}, "cookies": […]}  ␀␀␀␀␀␀␀␀  the body …

That is so where the runtime says that the answer has the type `INTEGRATION`. Of any
other type, the answer is the body alone.
"""

import msgspec

from sandlot_engine.gateway.urls.answers import (
    SEPARATOR,
    Malformed,
    Response,
    head_of,
)

INTEGRATION = "application/vnd.awslambda.http-integration-response"
OCTETS = b"application/octet-stream"

MAX_PRELUDE = 128 * 1024
"""Bytes before the separator: what a head of `answers.MAX_HEAD` takes as JSON, and room
for escapes."""

MAX_STREAM = 200 * 1024 * 1024
"""Bytes of a streamed body (AWS: 200 MB)."""


class Prelude:
    """Takes an answer's pieces until it is known how the response begins."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, piece: bytes) -> tuple[Response, bytes] | None:
        """The response's head, and the first bytes of its body, which may be none; or
        None as long as more is needed. Raises `Malformed`."""
        looked_at = max(0, len(self._held) - len(SEPARATOR) + 1)
        self._held += piece
        end = self._held.find(SEPARATOR, looked_at)
        if end > MAX_PRELUDE or (end < 0 and len(self._held) > MAX_PRELUDE):
            raise Malformed(f"its head has more than {MAX_PRELUDE} bytes")
        if end < 0:
            return None
        rest = bytes(self._held[end + len(SEPARATOR) :])
        return _head(bytes(self._held[:end])), rest


def head_without_prelude(content_type: str) -> Response:
    """The head of an answer that is nothing but its body. Raises `Malformed`."""
    if not content_type:
        return Response(200, [(b"content-type", OCTETS)])
    return head_of({"headers": {"content-type": content_type}})


def _head(prelude: bytes) -> Response:
    try:
        said = msgspec.json.decode(prelude)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("its head is no JSON") from error
    if not isinstance(said, dict):
        raise Malformed("its head is no object")
    head = head_of(said)
    if not head.content_type:
        head.headers.append((b"content-type", OCTETS))
    return head
