"""What can be refused of an invocation before anything of it runs: pure."""

import re

from sandlot_engine.errors import InvalidParameter, TooLarge
from sandlot_engine.invocation import json_check
from sandlot_engine.model.function import FunctionConfig
from sandlot_engine.model.invocation import (
    MAX_CLIENT_CONTEXT,
    MAX_EVENT_PAYLOAD,
    MAX_ISOLATION_KEY,
    MAX_PAYLOAD,
    Invocation,
    InvocationType,
)

_ISOLATION_KEY = re.compile(rf"[a-zA-Z0-9._:/=+@ -]{{1,{MAX_ISOLATION_KEY}}}")

_MAX_BYTES = {
    InvocationType.REQUEST_RESPONSE: MAX_PAYLOAD,
    InvocationType.DRY_RUN: MAX_PAYLOAD,
    InvocationType.EVENT: MAX_EVENT_PAYLOAD,
}


def check(invocation: Invocation, config: FunctionConfig) -> None:
    """Whether a function with that configuration can be given it. Raises
    `InvalidParameter` and `TooLarge`."""
    _check_isolation(invocation.isolation_key, config)
    size, limit = len(invocation.payload), _MAX_BYTES[invocation.type]
    if size > limit:
        # A dry run says what the real call would.
        kind = (
            InvocationType.EVENT
            if invocation.type is InvocationType.EVENT
            else InvocationType.REQUEST_RESPONSE
        )
        raise TooLarge(
            f"{size} byte payload is too large for the {kind.value} invocation "
            f"type (limit {limit} bytes)",
            field="payload",
        )
    size = len(invocation.client_context.encode())
    if size > MAX_CLIENT_CONTEXT:
        raise TooLarge(
            f"the client context has {size} bytes of {MAX_CLIENT_CONTEXT} allowed",
            field="client_context",
        )
    try:
        json_check.check(invocation.payload)
    except json_check.NotJson as error:
        raise InvalidParameter(
            "Could not parse request body into json: Could not parse payload into "
            f"json: {error}",
            field="payload",
            reason="InvalidRequestContent",
        ) from error


def _check_isolation(key: str, config: FunctionConfig) -> None:
    """An instance of a function with tenant isolation must know whom it is for, and
    one of others must not seem to."""
    if config.per_tenant and not key:
        raise InvalidParameter(
            "The invoked function is enabled with tenancy configuration. Add a valid "
            "tenant ID in your request and try again.",
            field="isolation_key",
        )
    if key and not config.per_tenant:
        raise InvalidParameter(
            "The invoked function is not enabled with tenancy configuration. Remove "
            "the tenant ID from your request and try again.",
            field="isolation_key",
        )
    if key and not _ISOLATION_KEY.fullmatch(key):
        raise InvalidParameter(
            f"The tenant ID must have 1 to {MAX_ISOLATION_KEY} letters, digits, spaces "
            f"and ._:/=+-@; it has {len(key)} characters.",
            field="isolation_key",
        )
