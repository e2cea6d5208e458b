"""What is posted to us, on the HTTP port.

    POST /hooks/TENANT/NAME    a webhook, signed; a bucket's notification, with a token

202 and the request's id where it becomes an event, 200 where it becomes none. The
sender is told no more than it has to know: 404 whether there is no such hook, or it may
not be posted to so.
"""

import asyncio
import json
import logging
import math
import re
from collections.abc import Mapping
from urllib.parse import unquote
from uuid import uuid4

from sandlot_engine.errors import (
    Conflict,
    DeadlineExceeded,
    Fault,
    PermissionDenied,
    SandlotError,
    Stopping,
    Throttled,
    TooLarge,
)
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.aws.receiving import (
    BodyRoom,
    ClientGone,
    Receive,
    Scope,
    Send,
    read_body,
)
from sandlot_engine.gateway.headers import fold
from sandlot_engine.triggers.hooks import MAX_BODY, Hooks, Post, Taken

MAX_BODIES = 64 * 2**20
"""Bytes of bodies that are half here, of all posts: strangers may send them."""

MAX_BODIES_OF_HOOK = 16 * 2**20
"""The same of one path, so that nobody uses up the room of all."""

SLOW_S = 5.0
"""After which a body gives way, where there is no room for another."""

BODY_S = 60.0
"""In which a body has to arrive."""

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
        self._room = BodyRoom(
            most=MAX_BODIES,
            of_one=MAX_BODIES_OF_HOOK,
            whose="the hook",
            slow_s=SLOW_S,
            retry_after_s=RETRY_AFTER_S,
        )

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
            body = await self._body(scope, receive, found[0].decode())
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

    async def _body(self, scope: Scope, receive: Receive, path: str) -> bytes:
        """Raises `TooLarge`, `DeadlineExceeded`, `Throttled` where there is no room,
        `ClientGone`."""
        try:
            async with asyncio.timeout(BODY_S):
                body = await read_body(
                    receive,
                    fold(scope["headers"]),
                    self._room,
                    path,
                    limit=MAX_BODY,
                    most=MAX_BODY,
                    too_large=_too_large,
                )
        except TimeoutError:
            raise DeadlineExceeded(f"no whole body within {BODY_S:g} s") from None
        assert body.data is not None  # noqa: S101 - over the limit it is refused
        return body.data


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
        case DeadlineExceeded():
            return 408, {"message": error.message}, []
        case Throttled():
            after = str(math.ceil(error.retry_after_s)).encode()
            return 429, {"message": error.message}, [(b"retry-after", after)]
        case Conflict() | Fault():
            if isinstance(error, Fault) and not isinstance(error, Stopping):
                faulted.tally.note()  # told below, in a line
            _log.info("a post was put off: %s", error.message)
            after = str(RETRY_AFTER_S).encode()
            told = "it cannot be taken now; post it again later"
            return 503, {"message": told}, [(b"retry-after", after)]
        case _:
            return 400, {"message": error.message}, []


def _unforeseen(error: Exception) -> _Answer:
    request_id = str(uuid4())
    faulted.note(error, request_id)
    told = f"internal error; it was logged as request {request_id}"
    return 500, {"message": told}, []


def _text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers.items()
    }


def _too_large(_: int) -> TooLarge:
    return TooLarge(f"a post may have {MAX_BODY} bytes", field="body")
