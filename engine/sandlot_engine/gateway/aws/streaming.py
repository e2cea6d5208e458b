"""InvokeWithResponseStream: an answer as a stream of events: its payload in pieces, and
then how it ended. One that its function gave at once is whole when it begins."""

import base64
import logging
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any

from sandlot_engine.gateway.aws import eventstream
from sandlot_engine.gateway.aws.service import Service, Shape
from sandlot_engine.invocation.streamed import BrokenOff, Streamed
from sandlot_engine.model.invocation import Outcome

_log = logging.getLogger(__name__)

PIECE = 64 * 1024
"""Bytes of an answer in one event."""

OPERATION = "InvokeWithResponseStream"


def events_of(outcome: Outcome, *, tail_log: bool) -> bytes:
    """All events of an invocation that ended. What a function that failed has to say is
    in the last one, where AWS has it."""
    stream = _stream_shape()
    pieces = [] if outcome.function_error else _pieces(outcome.payload)
    frames = [
        eventstream.event(stream, "PayloadChunk", {"Payload": piece})
        for piece in pieces
    ]
    complete = _how_it_ended(outcome, tail_log=tail_log)
    frames.append(eventstream.event(stream, "InvokeComplete", complete))
    return b"".join(frames)


async def events_while(
    streamed: Streamed, *, tail_log: bool
) -> AsyncGenerator[bytes, None]:
    """The events of an answer as it is made."""
    stream = _stream_shape()
    complete: dict[str, Any] = {}
    try:
        async for piece in streamed.pieces:
            if piece:
                yield eventstream.event(stream, "PayloadChunk", {"Payload": piece})
        if streamed.outcome is not None:
            outcome = await streamed.outcome
            complete = _how_it_ended(outcome, tail_log=tail_log)
    except BrokenOff as broken:
        complete = _how_it_ended(broken.outcome, tail_log=tail_log)
    except Exception as error:  # noqa: BLE001 - the edge: what began cannot be refused
        _log.warning("an answer broke off", exc_info=error)
        complete = {"ErrorCode": "ServiceException", "ErrorDetails": "internal error"}
    yield eventstream.event(stream, "InvokeComplete", complete)


def _pieces(payload: bytes) -> list[bytes]:
    return [payload[start : start + PIECE] for start in range(0, len(payload), PIECE)]


def _how_it_ended(outcome: Outcome, *, tail_log: bool) -> dict[str, Any]:
    ended: dict[str, Any] = {}
    if outcome.function_error:
        ended["ErrorCode"] = outcome.error_type or outcome.function_error
        ended["ErrorDetails"] = outcome.payload.decode("utf-8", "replace")
    if tail_log:
        ended["LogResult"] = base64.b64encode(outcome.log_tail).decode()
    return ended


@lru_cache(maxsize=1)
def _stream_shape() -> Shape:
    output = Service.load().operation(OPERATION).output
    assert output is not None  # noqa: S101 - the stream is what it answers with
    return output.members["EventStream"].shape
