"""Calls that run functions, and that tell of past runs."""

import json
from datetime import datetime

from sandlot import parsing
from sandlot.calls.call import PAGE_SIZE, Call, qualified, timestamp
from sandlot.errors import PayloadTooLarge, UsageError
from sandlot.parsing import Page
from sandlot.results import JSON, LogLine, Reply, Run
from sandlot.v1 import invocations_pb2 as inv

MAX_EVENT = 6_291_456
"""Bytes of an event whose caller waits (AWS: 6 MB)."""

MAX_QUEUED_EVENT = 1_048_576
"""Bytes of an event that is queued (AWS: 1 MB)."""

INVOKE_MANY = "/sandlot.v1.InvocationService/InvokeMany"


def invoke_request(
    function: str,
    value: JSON = None,
    *,
    payload: bytes | None = None,
    invocation_type: inv.InvocationType = inv.INVOCATION_TYPE_REQUEST_RESPONSE,
    tail_log: bool = False,
    qualifier: str = "",
    client_context: JSON = None,
    idempotency_key: str = "",
) -> inv.InvokeRequest:
    """`payload` goes out as it is; else `value` as JSON, and None as no event at all,
    which the engine takes for `{}`. Raises `PayloadTooLarge`, `UsageError`.
    """
    function, qualifier = qualified(function, qualifier)
    if payload is not None and value is not None:
        raise UsageError("an event is a value or a payload: give one of them")
    if payload is None:
        payload = b"" if value is None else encode(value)
    is_queued = invocation_type == inv.INVOCATION_TYPE_EVENT
    check_event_size(payload, is_queued=is_queued)
    return inv.InvokeRequest(
        function=function,
        qualifier=qualifier,
        payload=payload,
        invocation_type=invocation_type,
        tail_log=tail_log,
        client_context="" if client_context is None else json.dumps(client_context),
        idempotency_key=idempotency_key,
    )


def check_event_size(payload: bytes, *, is_queued: bool = False) -> None:
    """Raise `PayloadTooLarge` for what the engine would refuse, before it is sent."""
    limit = MAX_QUEUED_EVENT if is_queued else MAX_EVENT
    if len(payload) > limit:
        kind = "an event that is queued" if is_queued else "an event"
        raise PayloadTooLarge(
            f"the event has {len(payload):,} bytes of {limit:,} that {kind} may have. "
            "Put the data where the function can read it, and send where that is.",
            facts={"limit": str(limit)},
        )


def encode(value: JSON) -> bytes:
    try:
        return json.dumps(
            value, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except (ValueError, TypeError, RecursionError) as error:
        # NaN and Infinity, which JSON has not though Python writes them; cycles; what
        # is no Unicode, or nested too deeply; other objects.
        raise UsageError(f"the event cannot be JSON: {error}") from error


def invoke(request: inv.InvokeRequest) -> Call[Reply]:
    return Call(
        method="/sandlot.v1.InvocationService/Invoke",
        request=request,
        response=inv.InvokeResponse,
        parse=parsing.reply,
    )


def invoke_stream(request: inv.InvokeRequest) -> Call[bytes | Reply]:
    """Pieces of an answer, then how it ended."""
    return Call(
        method="/sandlot.v1.InvocationService/InvokeStream",
        request=inv.InvokeStreamRequest(request=request),
        response=inv.InvokeStreamResponse,
        parse=parsing.piece,
    )


def tail_logs(
    function: str, *, since: datetime | None, follow: bool
) -> Call[tuple[LogLine, ...]]:
    return Call(
        method="/sandlot.v1.InvocationService/TailLogs",
        request=inv.TailLogsRequest(
            function=function, since=timestamp(since), follow=follow
        ),
        response=inv.TailLogsResponse,
        parse=parsing.log_lines,
    )


def list_invocations(function: str, token: str) -> Call[Page[Run]]:
    return Call(
        method="/sandlot.v1.InvocationService/ListInvocations",
        request=inv.ListInvocationsRequest(
            function=function, page_size=PAGE_SIZE, page_token=token
        ),
        response=inv.ListInvocationsResponse,
        parse=lambda m: parsing.page(m.invocations, parsing.run, m.next_page_token),
    )
