"""What requests for AWS's other services are told, in a form that their clients read.

Who sets AWS_ENDPOINT_URL, which is for all services, where AWS_ENDPOINT_URL_LAMBDA was
meant, is to be told so by whatever calls first; and clients show no text but what is
where their protocol has it. Which service is meant, the signature says.
"""

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from starlette.responses import JSONResponse, Response

from sandlot_engine.ids import new_request_id

STATUS = 501
"""One that SDKs do not send again."""

CODE = "NotImplemented"

OURS = ("lambda", "scheduler")

_CREDENTIAL = re.compile(
    rb"(?:^|[\s,&])(?:X-Amz-)?Credential="
    rb"[^/%\s,&]{1,128}(?:/|%2F)[0-9]{8}(?:/|%2F)[A-Za-z0-9-]{1,63}(?:/|%2F)"
    rb"([a-z0-9-]{1,63})(?:/|%2F)aws4_request",
)
_XML_ALONE = ("route53", "cloudfront")
"""Services that send no forms, and read answers as those do that send some."""

_FORM = b"application/x-www-form-urlencoded"
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


def service_of(headers: Mapping[bytes, bytes], query: bytes) -> str:
    """Which other service a request is signed for, in a header or in its URL; empty
    where it is signed for one of ours, or not at all.

    Nobody's word is taken for anything: whether the signature is good is not asked.
    """
    found = _CREDENTIAL.search(headers.get(b"authorization", b"")) or (
        _CREDENTIAL.search(query)
    )
    service = found[1].decode() if found else ""
    return "" if service in OURS else service


def refuse(service: str, headers: Mapping[bytes, bytes], *, but: str = "") -> Response:
    """The answer to a request that is signed for `service`, which there is none of,
    `but` for an operation."""
    none = f"{service} but for {but}" if but else service
    message = (
        "this is a Sandlot engine, which serves AWS Lambda and EventBridge Scheduler, "
        f"and has no {none}. Set AWS_ENDPOINT_URL_LAMBDA to it, and "
        "AWS_ENDPOINT_URL_SCHEDULER, and not AWS_ENDPOINT_URL, which is for all "
        "services"
    )
    request_id = new_request_id()
    content_type = headers.get(b"content-type", b"")
    error = f"<Code>{CODE}</Code><Message>{escape(message)}</Message>"
    if service.startswith("s3"):
        body = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
    elif not (service in _XML_ALONE or content_type.startswith(_FORM)):
        code = f"{CODE}Exception"
        return JSONResponse(
            {"__type": code, "message": message},
            status_code=STATUS,
            headers={"x-amzn-errortype": code, "x-amzn-requestid": request_id},
        )
    elif service == "ec2":
        body = (
            f"<Response><Errors><Error>{error}</Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    else:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return Response(_XML + body, status_code=STATUS, media_type="text/xml")
