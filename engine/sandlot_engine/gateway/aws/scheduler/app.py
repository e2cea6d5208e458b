"""EventBridge Scheduler's API as an ASGI application: see `gateway/aws/app.py`."""

import asyncio
import re
from uuid import uuid4

from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    InvalidParameter,
    NotFound,
    NotSupported,
    PermissionDenied,
    QuotaExceeded,
    SandlotError,
    Throttled,
)
from sandlot_engine.garbage import let_go
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.aws.app import raw_answer, too_large
from sandlot_engine.gateway.aws.asking import asked_of
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.names import arn_prefix
from sandlot_engine.gateway.aws.reading import query_pairs
from sandlot_engine.gateway.aws.receiving import (
    ClientGone,
    Receive,
    Receiver,
    Scope,
    Send,
)
from sandlot_engine.gateway.aws.scheduler.operations import OPERATIONS, Call
from sandlot_engine.gateway.aws.scheduler.support import TABLE
from sandlot_engine.gateway.aws.service import Service
from sandlot_engine.gateway.aws.support import refusal
from sandlot_engine.gateway.aws.writing import Answer, write, write_error
from sandlot_engine.gateway.headers import fold
from sandlot_engine.triggers.groups import Groups
from sandlot_engine.triggers.keeping import Triggers

SERVICE = "scheduler"
MAX_REQUEST = 1_048_576
"""Bytes of a request's body: an input of 256 KB, whatever of it JSON escapes."""

OPERATION_DEADLINE_S = 60.0

_OURS = re.compile(rb"/(?:schedules|schedule-groups|tags)(?:/|$)")
_CODES: tuple[tuple[type[SandlotError], str], ...] = (
    (InvalidParameter, "ValidationException"),
    (NotSupported, "ValidationException"),
    (NotFound, "ResourceNotFoundException"),
    (AlreadyExists, "ConflictException"),
    (Conflict, "ConflictException"),
    (QuotaExceeded, "ServiceQuotaExceededException"),
    (Throttled, "ThrottlingException"),
    (PermissionDenied, "AccessDeniedException"),
    (DeadlineExceeded, "DeadlineExceededException"),
)
"""The first that fits; what none does is our fault."""


def is_scheduler(raw_path: bytes) -> bool:
    """Whether a path, as it was sent, is one of the Scheduler's."""
    return _OURS.match(raw_path) is not None


class SchedulerApp:
    """An ASGI callable. What it is sent must be HTTP, and `is_scheduler`."""

    def __init__(
        self,
        receiver: Receiver,
        triggers: Triggers,
        groups: Groups,
        clock: Clock,
        *,
        region: str,
    ) -> None:
        """`region` is the engine's own, which ARNs have in the catalog's texts."""
        self._receiver = receiver
        self._triggers = triggers
        self._groups = groups
        self._clock = clock
        self._region = region
        self._service = Service.load(SERVICE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid4())
        try:
            answer = await self._answer(scope, receive, request_id)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
            face = _face_of(error, request_id)
            answer = write_error(face, request_id, self._service)
            let_go(error)
        status, headers, body = raw_answer(answer)
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Answer:
        headers = fold(scope["headers"])
        query = query_pairs(scope["query_string"])
        operation, labels = self._service.match(
            scope["method"], scope["raw_path"].decode("latin-1"), query
        )
        received = await self._receiver.receive(
            scope,
            receive,
            headers,
            limit=MAX_REQUEST,
            too_large=lambda _: too_large(operation, MAX_REQUEST),
            service=SERVICE,
        )
        body = received.body.data
        if body is None:
            raise too_large(operation, MAX_REQUEST)
        async with self._receiver.reading(received.caller, len(body)):
            asked = asked_of(
                operation,
                labels,
                query,
                headers,
                body,
                unknown_code="ValidationException",
            )
        if why := refusal(operation.name, asked, TABLE):
            raise NotSupported(why)
        call = Call(
            caller=received.caller,
            region=received.region,
            input=asked,
            triggers=self._triggers,
            groups=self._groups,
            clock=self._clock,
        )

        async def perform() -> Answer:
            return write(operation, await OPERATIONS[operation.name](call), request_id)

        try:
            async with asyncio.timeout(OPERATION_DEADLINE_S):
                return await self._receiver.answering(
                    received.caller, operation.name, perform
                )
        except InvalidParameter as error:
            ours, theirs = arn_prefix(self._region), arn_prefix(received.region)
            raise InvalidParameter(error.message.replace(ours, theirs)) from error


def _face_of(error: Exception, request_id: str) -> AwsError:
    """As `gateway/aws/app.py` has it, with the Scheduler's names."""
    match error:
        case AwsError():
            return error
        case TimeoutError():
            return AwsError(
                "DeadlineExceededException",
                f"it did not end within {OPERATION_DEADLINE_S:.0f} s",
            )
        case SandlotError():
            faulted.note(error, request_id)
            code = next((code for kind, code in _CODES if isinstance(error, kind)), "")
            return AwsError(code or "InternalServerException", error.message)
        case _:
            faulted.note(error, request_id)
            return AwsError(
                "InternalServerException",
                f"internal error; it was logged as request {request_id}",
            )
