"""Whose key is this? The one question of AWS's STS that has an answer here.

Deployment tools ask it before anything else, to name the account in ARNs. Of all other
operations of STS there is none: keys do not expire, and there are no roles to assume.
"""

import re
from xml.sax.saxutils import escape

from starlette.responses import Response

from sandlot_engine.garbage import let_go
from sandlot_engine.gateway.aws.app import face_of
from sandlot_engine.gateway.aws.faults import UNMODELLED, AwsError
from sandlot_engine.gateway.aws.receiving import (
    ClientGone,
    Receive,
    Receiver,
    Scope,
    Send,
)
from sandlot_engine.gateway.headers import fold
from sandlot_engine.gateway.others import refuse, service_of
from sandlot_engine.ids import new_request_id

SERVICE = "sts"
MAX_REQUEST = 65_536
"""Bytes of a request's body. The question has 43."""

_ACTION = re.compile(rb"(?:^|&)Action=GetCallerIdentity(?:&|$)")
_XMLNS = "https://sts.amazonaws.com/doc/2011-06-15/"
_CODES = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "TooManyRequestsException": "Throttling",
    "UnrecognizedClientException": "InvalidClientTokenId",
}
"""What STS calls that which Lambda calls otherwise."""


def is_identity(scope: Scope) -> bool:
    """Whether a request is one of STS's, by its form and by its signature."""
    if scope["method"] != "POST" or scope["raw_path"] != b"/":
        return False
    return service_of(fold(scope["headers"]), b"") == SERVICE


class IdentityApp:
    """An ASGI callable. What it is sent must be HTTP, and `is_identity`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            response = await self._answer(scope, receive, request_id)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
            response = _refused(face_of(error, request_id), request_id)
            let_go(error)
        await response(scope, receive, send)

    async def _answer(
        self, scope: Scope, receive: Receive, request_id: str
    ) -> Response:
        headers = fold(scope["headers"])
        received = await self._receiver.receive(
            scope,
            receive,
            headers,
            limit=MAX_REQUEST,
            too_large=_too_large,
            service=SERVICE,
        )
        body = received.body.data
        if body is None:
            raise _too_large(received.body.size)
        if not _ACTION.search(body):
            return refuse(SERVICE, headers, but="GetCallerIdentity")
        # An account has no users or roles here: it is its own root.
        account = received.caller.tenant_id
        return _xml(
            200,
            f'<GetCallerIdentityResponse xmlns="{_XMLNS}"><GetCallerIdentityResult>'
            f"<Arn>arn:aws:iam::{account}:root</Arn>"
            f"<UserId>{account}</UserId><Account>{account}</Account>"
            "</GetCallerIdentityResult>"
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
            "</GetCallerIdentityResponse>",
        )


def _too_large(size: int) -> AwsError:
    return AwsError(
        "RequestEntityTooLargeException",
        f"a request to STS has {size} bytes of {MAX_REQUEST} allowed",
    )


def _refused(error: AwsError, request_id: str) -> Response:
    if unmodelled := UNMODELLED.get(error.code):
        status = unmodelled.status
    else:
        status = 429 if error.code == "TooManyRequestsException" else 500
    code = _CODES.get(error.code, error.code)
    message = error.message
    if error.code == "UnrecognizedClientException":
        # Who meant AWS, and has set AWS_ENDPOINT_URL, asks this first of all.
        message += (
            " This is a Sandlot engine, whose keys `sandlot tenant create` makes."
        )
    who = "Sender" if status < 500 else "Receiver"
    return _xml(
        status,
        f'<ErrorResponse xmlns="{_XMLNS}"><Error><Type>{who}</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>",
    )


def _xml(status: int, text: str) -> Response:
    return Response(text, status_code=status, media_type="text/xml")
