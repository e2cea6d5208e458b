"""Who is to be told of events: what nobody could ever be told at is refused when it is
set, and not when it is needed. Texts are AWS's where it refuses the same."""

import re
from collections.abc import Collection

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.function import Function
from sandlot_engine.model.target import (
    BadTarget,
    Target,
    check_endpoint,
    target_of,
)

_SERVICE = re.compile(r"arn:aws[a-zA-Z0-9-]*:([a-zA-Z0-9-]+):[a-z0-9-]*:(\d{12})?:.+")
_SUCCESS = frozenset({"sqs", "sns", "lambda", "events"})
_FAILURE = _SUCCESS | {"s3"}
"""Of which services AWS has destinations."""

_DEAD_LETTER = frozenset({"sqs", "sns"})


def destination_of(
    arn: str, *, tenant_id: str, of_failures: bool, endpoints: Collection[str]
) -> Target:
    """What a destination's ARN selects. Raises `InvalidParameter`; also where it is of
    a service that is not among `endpoints`, those that the operator has named."""
    parts = _SERVICE.fullmatch(arn)
    services = _FAILURE if of_failures else _SUCCESS
    if parts is None or parts[1] not in services or arn.endswith(".fifo"):
        raise bad_destination(arn)
    try:
        target = target_of(arn, tenant_id=tenant_id)
        check_endpoint(target, endpoints)
    except BadTarget as error:
        raise bad_destination(arn, f" {error}.") from error
    return target


def bad_destination(arn: str, why: str = "") -> InvalidParameter:
    return InvalidParameter(
        f"The destination ARN {arn} is invalid.{why}", field="destinations"
    )


def check_is_not_isolated(function: Function, what: str) -> None:
    """Raise `InvalidParameter` where each invocation has to say for whom it is, which
    `what` never does."""
    if function.current.config.per_tenant:
        raise InvalidParameter(
            f"{what} is not supported for functions with tenant isolation, as "
            f"{function.name!r} is one: it has no tenant ID. Invoke it with one.",
            field="function",
        )


def check_dead_letter(
    arn: object, *, tenant_id: str, endpoints: Collection[str]
) -> None:
    """Raise `InvalidParameter` unless it is empty, or a queue or topic that a dead
    letter can be sent to."""
    if not arn:
        return
    try:
        target = target_of(str(arn), tenant_id=tenant_id)
    except BadTarget as error:
        raise _bad_dead_letter(arn, str(error)) from error
    if target.service not in _DEAD_LETTER:
        raise _bad_dead_letter(
            arn,
            "It must be a queue of SQS or a topic of SNS. A function or a bus is told "
            "as OnFailure destination, with PutFunctionEventInvokeConfig",
        )
    if target.name.endswith(".fifo"):
        raise _bad_dead_letter(arn, "It cannot be FIFO: name a standard one")
    try:
        check_endpoint(target, endpoints)
    except BadTarget as error:
        raise _bad_dead_letter(arn, str(error)) from error


def _bad_dead_letter(arn: object, why: str) -> InvalidParameter:
    return InvalidParameter(
        f"The TargetArn {str(arn)[:200]} of DeadLetterConfig is invalid. {why}.",
        field="dead_letter_arn",
    )
