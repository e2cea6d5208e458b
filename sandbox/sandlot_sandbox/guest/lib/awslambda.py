"""Answer in pieces, as `awslambda` in AWS's runtime for Node does it:

    import awslambda

    @awslambda.streamify_response
    def handler(event, stream, context):
        stream = awslambda.HttpResponseStream.from_stream(stream, {"statusCode": 200})
        stream.write("one ")
        stream.write(b"two")

A handler that is a generator needs nothing of this.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["HttpResponseStream", "streamify_response"]


def streamify_response(handler: F) -> F:
    """Have a handler called with a stream between its event and its context."""
    handler.__sandlot_streams__ = True  # type: ignore[attr-defined]
    return handler


class HttpResponseStream:
    """For function URLs: what comes before the body."""

    @staticmethod
    def from_stream(stream: Any, metadata: dict[str, Any]) -> Any:
        """The same stream, once status code, headers and cookies are written to it."""
        stream.set_content_type("application/vnd.awslambda.http-integration-response")
        stream.write(json.dumps(metadata).encode() + bytes(8))
        return stream
