"""What AWS calls each refusal.

An `AwsError` is what a client sees: the name that AWS gives it, its text, and what its
shape has beside `Type` and the message. The catalog and the invoker raise what
`sandlot_engine.errors` has; each class there bears its AWS name, and `aws_error_of`
makes the one from the other.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sandlot_engine.errors import SandlotError, Throttled


class AwsError(Exception):
    """An answer of AWS's that is an error.

    `code` is a modelled error's name or one of `UNMODELLED`; `members` are the shape's
    own, without `Type` and the message, which are made from the model.
    """

    def __init__(
        self, code: str, message: str, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.members: Mapping[str, Any] = MappingProxyType(dict(members or {}))


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """An error that AWS answers with and botocore's model does not have."""

    status: int
    message: str = "message"
    """The name of the member with the text; these have no `Type`."""


UNMODELLED: Mapping[str, Unmodelled] = {
    # What the framework in front of every operation says of a request.
    "SerializationException": Unmodelled(400),
    "ValidationException": Unmodelled(400),
    "UnknownOperationException": Unmodelled(404),
    "MethodNotAllowedException": Unmodelled(405),
    "RequestEntityTooLargeException": Unmodelled(413),
    # Who is asking, and may they.
    "AccessDeniedException": Unmodelled(403, "Message"),
    "ExpiredTokenException": Unmodelled(403),
    "IncompleteSignatureException": Unmodelled(403),
    "InvalidSignatureException": Unmodelled(403),
    "MissingAuthenticationTokenException": Unmodelled(403),
    "UnrecognizedClientException": Unmodelled(403),
    # Ours. Neither status is one that SDKs send again on their own: the first will not
    # change, and after the second the work may have been done.
    "NotImplementedException": Unmodelled(501),
    "IdempotentParameterMismatchException": Unmodelled(422),
    "DeadlineExceededException": Unmodelled(408),
}

WIRE_NAMES: Mapping[str, str] = {
    # Modelled under the one name, answered under the other (recorded).
    "RequestTooLargeException": "RequestEntityTooLargeException",
}

OPERATION_NOT_SUPPORTED = "OperationNotSupported"
"""The reason of a `NotSupported` that is about a whole operation: HTTP 501. Without it
a field or a value is meant, which is a parameter's error, and 400."""

_BY_REASON: Mapping[str, str] = {
    "PreconditionFailed": "PreconditionFailedException",
    "CodeStorageExceeded": "CodeStorageExceededException",
    "InvalidRequestContent": "InvalidRequestContentException",
    OPERATION_NOT_SUPPORTED: "NotImplementedException",
    "IdempotencyKeyReused": "IdempotentParameterMismatchException",
}
_WHOLE = re.compile(
    r"(Could not unzip uploaded file\. Please check your file, then try to upload "
    r"again\."
    r"|(?:Zipped|Unzipped) size must be smaller than \d+ bytes).*",
    re.DOTALL,
)
"""Texts of AWS's that ours begin with, recorded to their end: tools compare them. Which
entry it was, and how large, is told over gRPC."""
_RATE_EXCEEDED = "Rate Exceeded."
"""AWS's whole text (recorded). Which limit it was is in `Reason`."""


def aws_error_of(error: SandlotError) -> AwsError:
    """The AWS face of `error`: its class's, unless its reason is a finer one.

    A reason that is an AWS error's own name is taken as it is, for example
    `CodeSigningConfigNotFoundException`.
    """
    if isinstance(error, Throttled):
        return AwsError(type(error).aws, _RATE_EXCEEDED, _throttled_members(error))
    message = _WHOLE.sub(r"\1", error.message)
    if error.reason.endswith("Exception"):
        return AwsError(error.reason, message)
    return AwsError(_BY_REASON.get(error.reason, type(error).aws), message)


def _throttled_members(error: Throttled) -> dict[str, str]:
    members = {"Reason": error.reason}
    if error.retry_after_s > 0:
        # Whole seconds are all that the header can say; never sooner than it helps.
        members["retryAfterSeconds"] = str(math.ceil(error.retry_after_s))
    return members
