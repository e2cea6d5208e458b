"""Lambda's Runtime API for one instance, as its program sees it: which call is due, and
what is answered to one that is not.

Pure: requests in, replies out. What a program says is its tenant's word, and does
nothing but what `Hears` is told; a call out of turn is refused in AWS's words and harms
nobody. `runtime_wire.py` has the sockets.
"""

import base64
import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote

from sandlot_sandbox import frames

VERSION = "/2018-06-01/runtime"
MAX_SMALL_BODY = 262_144
"""Bytes of any body but a response's: of an error, say."""

ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"
_MODE = "lambda-runtime-function-response-mode"
_INVOCATION = re.compile(re.escape(VERSION) + r"/invocation/([^/]+)/(response|error)")
_PINGS = frozenset({"/ping", "/2018-06-01/ping", f"{VERSION}/ping"})
OK = b'{"status":"OK"}\n'
_BYTES = "application/octet-stream"
_TRUNCATED = (
    b'{"errorMessage":"Response payload is truncated.",'
    b'"errorType":"Runtime.TruncatedResponse"}'
)
PLAIN_JSON = (("Content-Type", "application/json"),)


class Stage(Enum):
    """Where the program is: `STARTING → WAITING ⇄ RUNNING`, with an answer in pieces by
    way of `STREAMING`; and between two invocations `ANSWERED`, from its answer until it
    asks for the next event."""

    STARTING = "Init"
    WAITING = "Ready"
    RUNNING = "InvocationRunning"
    STREAMING = "InvocationStreaming"
    ANSWERED = "InvocationResponded"
    FAILED = "InitError"


_NOT_FREE = frozenset((Stage.RUNNING, Stage.STREAMING, Stage.FAILED))


@dataclass(frozen=True, slots=True)
class Request:
    """A call, with its body whole."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""

    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. The last value of a header may be UTF-8."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Respond = Callable[[Reply], None]
"""Sends a reply, now or later; once."""


class RuntimeApi:
    """One program's conversation. `tell` hears what comes of it, as answers."""

    def __init__(self, tell: Callable[[frames.Answer], None]) -> None:
        self._tell = tell
        self._stage = Stage.STARTING
        self._event: tuple[frames.EventHeader, bytes] | None = None
        """What nobody has asked for yet."""
        self._request_id = ""
        self._asking: Respond | None = None
        """Who waits for the next event."""

    def __repr__(self) -> str:
        return f"<RuntimeApi {self._stage.value}>"

    @property
    def is_initialising(self) -> bool:
        return self._stage is Stage.STARTING

    @property
    def is_waiting(self) -> bool:
        """Whether it has asked for the next event."""
        return self._stage is Stage.WAITING

    @property
    def holds_event(self) -> bool:
        """Whether nobody has asked for the event that was sent."""
        return self._event is not None

    def send(self, header: frames.EventHeader, payload: bytes) -> None:
        """The next event: to who waits for it, or who asks first."""
        self._event = (header, payload)
        self._hand_over()

    def most_of(self, method: str, path: str) -> int:
        """How many bytes a call may bring; 0 where the call will be refused anyway."""
        if method == "POST" and (found := _INVOCATION.fullmatch(path)):
            if self._stage is not Stage.RUNNING or not self._is_current(found[1]):
                return 0
            return frames.MAX_PAYLOAD if found[2] == "response" else MAX_SMALL_BODY
        return MAX_SMALL_BODY if method == "POST" else 0

    def streams(self, request: Request) -> bool:
        """Whether this call, of which only the head is there, is an answer in pieces:
        then it has begun, and `take_piece` and `end_stream` are to follow."""
        found = _INVOCATION.fullmatch(request.path)
        if (
            request.method != "POST"
            or found is None
            or found[2] != "response"
            or self._stage is not Stage.RUNNING
            or not self._is_current(found[1])
            or request.headers.get(_MODE) != "streaming"
        ):
            return False
        self._stage = Stage.STREAMING
        content_type = request.headers.get("content-type", _BYTES)
        self._say(frames.STREAM_BEGIN, content_type.encode())
        return True

    def take_piece(self, piece: bytes) -> None:
        """The next of an answer in pieces, of any size."""
        for start in range(0, len(piece), frames.MAX_PIECE):
            self._say(frames.STREAM_PIECE, piece[start : start + frames.MAX_PIECE])

    def end_stream(self, trailers: Mapping[str, str]) -> Reply:
        """That was the last piece; what went wrong, if something did, is in `trailers`,
        as AWS has it."""
        error_type, body = trailers.get(ERROR_TYPE, ""), b""
        if error_type:
            with contextlib.suppress(ValueError):
                body = base64.b64decode(trailers.get(_ERROR_BODY, ""), validate=True)
            error_type = sane(error_type) or "Runtime.Unknown"
        self._end(frames.STREAM_END, body, error_type)
        return Reply(202, PLAIN_JSON, OK)

    def break_stream(self) -> None:
        """The call that brought the pieces was cut off."""
        if self._stage is Stage.STREAMING:
            self._end(frames.STREAM_END, _TRUNCATED, "Runtime.TruncatedResponse")

    def note_oversize(self, path: str) -> Reply:
        """A body was longer than `most_of` said, and was not read."""
        found = _INVOCATION.fullmatch(path)
        if found and self._stage is Stage.RUNNING and self._is_current(found[1]):
            self._end(frames.ERROR, TOO_LARGE, "Function.ResponseSizeTooLarge")
            return refusal(
                413,
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({frames.MAX_PAYLOAD} bytes).",
            )
        return refusal(413, "RequestEntityTooLarge", "The body is too large.")

    def hear(self, request: Request, respond: Respond) -> None:
        """`respond` is called now; for who waits for an event, when there is one."""
        path = request.path
        if request.method == "GET":
            if path == f"{VERSION}/invocation/next":
                self._next(respond)
                return
            if path in _PINGS:
                respond(Reply(200, body=b"pong"))
                return
        elif request.method == "POST":
            if found := _INVOCATION.fullmatch(path):
                answer = self._response if found[2] == "response" else self._error
                respond(answer(found[1], request))
                return
            if path == f"{VERSION}/init/error":
                respond(self._init_error(request))
                return
        respond(Reply(404, body=b"404 page not found\n"))

    def forget(self, respond: Respond) -> None:
        """Its connection is closed: nobody waits there any more."""
        if self._asking == respond:
            self._asking = None

    # --- calls ----------------------------------------------------------------------

    def _next(self, respond: Respond) -> None:
        if self._stage in _NOT_FREE or self._asking is not None:
            respond(self._out_of_turn("Next"))
            return
        self._asking = respond
        is_first = self._stage is Stage.STARTING
        self._stage = Stage.WAITING
        if is_first:
            # Who hears it may send the first event at once.
            self._tell(frames.Answer(frames.READY, "", b"", 0))
        self._hand_over()

    def _response(self, request_id: str, request: Request) -> Reply:
        if (refused := self._refuse_answer(request_id, "Response")) is not None:
            return refused
        mode = request.headers.get(_MODE, "")
        if mode not in ("", "streaming"):
            return refusal(
                400,
                "InvalidFunctionResponseMode",
                f"Unsupported function response mode: {frames.shown(mode)}",
            )
        self._end(frames.ANSWER, request.body)
        return Reply(202, PLAIN_JSON, OK)

    def _error(self, request_id: str, request: Request) -> Reply:
        if (refused := self._refuse_answer(request_id, "ErrorResponse")) is not None:
            return refused
        self._end(frames.ERROR, request.body, request.headers.get(ERROR_TYPE, ""))
        return Reply(202, PLAIN_JSON, OK)

    def _init_error(self, request: Request) -> Reply:
        if self._stage is not Stage.STARTING:
            return self._out_of_turn("InitError")
        self._stage = Stage.FAILED
        error_type = sane(request.headers.get(ERROR_TYPE, "")) or "Runtime.Unknown"
        self._tell(frames.Answer(frames.INIT_ERROR, error_type, request.body, 0))
        return Reply(202, PLAIN_JSON, OK)

    # --- between them ---------------------------------------------------------------

    def _hand_over(self) -> None:
        if self._asking is None or self._event is None:
            return
        (header, payload), respond = self._event, self._asking
        self._event = self._asking = None
        self._stage, self._request_id = Stage.RUNNING, header.request_id
        respond(Reply(200, _event_headers(header), payload))

    def _end(self, kind: int, payload: bytes, error_type: str = "") -> None:
        self._stage = Stage.ANSWERED
        self._tell(frames.Answer(kind, sane(error_type), payload, 0))

    def _say(self, kind: int, payload: bytes) -> None:
        self._tell(frames.Answer(kind, "", payload, 0))

    def _is_current(self, request_id: str) -> bool:
        return unquote(request_id) == self._request_id

    def _refuse_answer(self, request_id: str, to: str) -> Reply | None:
        if self._stage is not Stage.RUNNING:
            return self._out_of_turn(f"RuntimeInvocation{to}")
        if not self._is_current(request_id):
            return refusal(400, "InvalidRequestID", "Invalid request ID")
        return None

    def _out_of_turn(self, to: str) -> Reply:
        return refusal(
            403,
            "InvalidStateTransition",
            f"State transition from {self._stage.value} to {to} failed for runtime."
            " Error: State transition is not allowed",
        )


TOO_LARGE = (
    b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
    b'(%d bytes).","errorType":"Function.ResponseSizeTooLarge"}' % frames.MAX_PAYLOAD
)

_BLANKS = dict.fromkeys((*range(0x20), 0x7F), " ")
_SANE = re.compile(rf"[\w.:$-]{{1,{frames.MAX_ERROR_TYPE}}}")


def sane(error_type: str) -> str:
    """An error type that may go on into answers and logs; empty where it may not."""
    return error_type if _SANE.fullmatch(error_type) else ""


def refusal(status: int, error_type: str, message: str) -> Reply:
    """In the shape that AWS gives all of them."""
    body = {"errorMessage": message, "errorType": error_type}
    return Reply(status, PLAIN_JSON, json.dumps(body).encode() + b"\n")


def _event_headers(header: frames.EventHeader) -> tuple[tuple[str, str], ...]:
    """What there is nothing of is left out, as on AWS."""
    # In JSON line ends are between its words only, where a blank is as good; and around
    # it, where a header may have none.
    context = header.client_context.translate(_BLANKS).strip(" ")
    found = (
        ("Lambda-Runtime-Aws-Request-Id", header.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(header.deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", header.function_arn),
        ("Lambda-Runtime-Trace-Id", header.trace_id),
        ("Lambda-Runtime-Client-Context", context),
        ("Lambda-Runtime-Aws-Tenant-Id", header.tenant_id),
    )
    return (*PLAIN_JSON, *((name, value) for name, value in found if value))
