"""What is posted to us, on the HTTP port.

    POST /hooks/TENANT/NAME    a webhook, signed; a bucket's notification, with a token

202 and the request's id where it becomes an event, 200 where it becomes none. The
sender is told no more than it has to know: 404 whether there is no such hook, or it may
not be posted to so.
"""

import json
import logging
import math
import re
from collections.abc import Mapping
from urllib.parse import unquote
from uuid import uuid4

from sandlot_engine.errors import (
    Conflict,
    Fault,
    PermissionDenied,
    SandlotError,
    Throttled,
    TooLarge,
)
from sandlot_engine.gateway.aws.receiving import ClientGone, Receive, Scope, Send
from sandlot_engine.gateway.aws.sigv4 import fold
from sandlot_engine.triggers.hooks import MAX_BODY, Hooks, Post, Taken

MAX_BODIES = 64 * 2**20
"""Bytes of bodies that are half here, of all posts: strangers may send them."""

MAX_BODIES_OF_HOOK = 16 * 2**20
"""The same of one path, so that nobody uses up the room of all."""

RETRY_AFTER_S = 5

_PATH = re.compile(rb"/hooks/([0-9]{12})/([0-9A-Za-z_.%-]{1,192})")
_REFUSED = "there is no such hook, or it may not be posted to so"
_log = logging.getLogger(__name__)


def is_hook(raw_path: bytes) -> bool:
    """Whether a path, as it was sent, is one of ours."""
    return raw_path.startswith(b"/hooks/")


class HookApp:
    """An ASGI callable. What it is sent must be HTTP, and `is_hook`."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._room = _Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, answer, headers = await self._answer(scope, receive)
        except ClientGone:
            return
        kind = b"application/json"
        if isinstance(answer, str):
            kind, body = b"text/plain; charset=utf-8", answer.encode()
        else:
            body = json.dumps(answer).encode()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", kind),
                    (b"content-length", b"%d" % len(body)),
                    *headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> "_Answer":
        if scope["method"] != "POST":
            return 405, {"message": "hooks are posted to"}, [(b"allow", b"POST")]
        found = _PATH.fullmatch(scope["raw_path"])
        if not found:
            return 404, {"message": _REFUSED}, []
        try:
            body = await self._room.read(scope["raw_path"], scope, receive)
            taken = await self._hooks.post(
                found[1].decode(),
                unquote(found[2].decode()),
                Post(
                    headers=_text(fold(scope["headers"])),
                    query=scope["query_string"].decode("latin-1"),
                    body=body,
                ),
            )
        except SandlotError as error:
            return _refusal(error)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
            return _unforeseen(error)
        return _success(taken)


_Answer = tuple[int, dict[str, object] | str, list[tuple[bytes, bytes]]]


def _success(taken: Taken) -> _Answer:
    if taken.answer:
        return 200, taken.answer, []
    if not taken.request_id:
        return 200, {"message": "there was nothing in it to run a function for"}, []
    answer: dict[str, object] = {"requestId": taken.request_id}
    if taken.records:
        answer["records"] = taken.records
    return 202, answer, [(b"x-amzn-requestid", taken.request_id.encode())]


def _refusal(error: SandlotError) -> _Answer:
    """Senders try again after 429 and 503, and not after what will not change."""
    match error:
        case PermissionDenied():
            return 404, {"message": _REFUSED}, []
        case TooLarge():
            return 413, {"message": error.message}, []
        case Throttled():
            after = str(math.ceil(error.retry_after_s)).encode()
            return 429, {"message": error.message}, [(b"retry-after", after)]
        case Conflict() | Fault():
            _log.info("a post was put off: %s", error.message)
            after = str(RETRY_AFTER_S).encode()
            told = "it cannot be taken now; post it again later"
            return 503, {"message": told}, [(b"retry-after", after)]
        case _:
            return 400, {"message": error.message}, []


def _unforeseen(error: Exception) -> _Answer:
    request_id = str(uuid4())
    _log.error("unforeseen", exc_info=error, extra={"request_id": request_id})
    told = f"internal error; it was logged as request {request_id}"
    return 500, {"message": told}, []


def _text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers.items()
    }


class _Room:
    """Bodies on their way in, within bounds."""

    def __init__(self) -> None:
        self._used = 0
        self._by_path: dict[bytes, int] = {}

    async def read(self, path: bytes, scope: Scope, receive: Receive) -> bytes:
        """Raises `TooLarge`, `Throttled` where there is no room, `ClientGone`."""
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 12 or int(declared) > MAX_BODY):
            raise _too_large()
        held, chunks = 0, list[bytes]()
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                data = message.get("body", b"")
                if held + len(data) > MAX_BODY:
                    raise _too_large()
                if not message.get("more_body", False):
                    # Nearly always the first: that needs no room of its own.
                    return b"".join((*chunks, data))
                self._take(path, len(data))
                held += len(data)
                chunks.append(data)
        finally:
            self._give_back(path, held)

    def _take(self, path: bytes, size: int) -> None:
        of_path = self._by_path.get(path, 0)
        for used, limit in ((of_path, MAX_BODIES_OF_HOOK), (self._used, MAX_BODIES)):
            if used + size > limit:
                raise Throttled(
                    f"posts that are being read have {used} bytes of {limit} allowed",
                    reason="CallerRateLimitExceeded",
                    limit=limit,
                    retry_after_s=RETRY_AFTER_S,
                )
        self._used += size
        self._by_path[path] = of_path + size

    def _give_back(self, path: bytes, size: int) -> None:
        if not size:
            return
        self._used -= size
        self._by_path[path] -= size
        if not self._by_path[path]:
            del self._by_path[path]


def _too_large() -> TooLarge:
    return TooLarge(f"a post may have {MAX_BODY} bytes", field="body")
