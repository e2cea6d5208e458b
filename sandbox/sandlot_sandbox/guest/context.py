"""The second argument of a handler, attribute for attribute as AWS's runtime has it."""

from __future__ import annotations

import json
import os
import sys
import time

from .failures import Failure, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_loads = json.loads


def make(
    request_id: str,
    deadline_ms: int,
    function_arn: str,
    client_context_json: str = "",
    tenant_id: str | None = None,
) -> LambdaContext | Failure:
    """The context of one invocation, or the failure of a bad client context.

    `deadline_ms` is wall-clock time, in milliseconds since the epoch. What AWS reads
    from the environment is read from the environment, at this moment.
    """
    try:
        client_context = _parsed(client_context_json)
    except ValueError as error:
        return Failure("Runtime.LambdaContextUnmarshalError", str(error))
    given = request_id, client_context, None, deadline_ms, function_arn, tenant_id
    return LambdaContext(*given)  # see `instance.REHEARSALS`


class CognitoIdentity:
    """Always there. No caller of ours has one, so both ids are None."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    cognito_identity_id: str | None
    cognito_identity_pool_id: str | None

    def __repr__(self) -> str:
        return _shown(self, self.__slots__)


class Client:
    """The mobile app that called, as far as it said."""

    __slots__ = (  # noqa: RUF023  (AWS's order, which the repr shows)
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )

    def __repr__(self) -> str:
        return _shown(self, self.__slots__)


class ClientContext:
    """What the caller sent in X-Amz-Client-Context."""

    __slots__ = ("custom", "env", "client")  # noqa: RUF023  (AWS's order)

    custom: Any
    env: Any
    client: Any

    def __repr__(self) -> str:
        return _shown(self, self.__slots__)


class LambdaContext:
    """AWS's context object. Tenants may read, change and subclass it."""

    def __init__(
        self,
        invoke_id: str,
        client_context: dict[str, Any] | None,
        cognito_identity: dict[str, Any] | None,
        epoch_deadline_time_in_ms: int,
        invoked_function_arn: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        self.aws_request_id = invoke_id
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        # A string on AWS too, whatever its name suggests.
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        self.client_context = _client_context(client_context)
        self.identity = _identity(cognito_identity or {})
        self._epoch_deadline_time_in_ms = epoch_deadline_time_in_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation times out; never negative."""
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def log(self, msg: object) -> None:
        """Write `msg` to the log, as an entry of its own."""
        text = str(msg)
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")

    def __repr__(self) -> str:
        return _shown(
            self,
            (
                "aws_request_id",
                "log_group_name",
                "log_stream_name",
                "function_name",
                "memory_limit_in_mb",
                "function_version",
                "invoked_function_arn",
                "client_context",
                "identity",
                "tenant_id",
            ),
        )


def _parsed(text: str) -> dict[str, Any] | None:
    """The JSON object in `text`, None for none. Raises ValueError with AWS's words."""
    if not text:
        return None
    try:
        value = _loads(text)
    except (ValueError, RecursionError) as error:
        reason = text_of(error)
        raise ValueError(f"Unable to parse Client Context JSON: {reason}") from error
    client = value.get("client") if isinstance(value, dict) else None
    if not isinstance(value, (dict, type(None))) or not isinstance(
        client, (dict, type(None))
    ):
        raise ValueError("Unable to parse Client Context JSON: not an object")  # noqa: TRY004
    return value


def _client_context(fields: dict[str, Any] | None) -> ClientContext | None:
    if fields is None:
        return None
    context = ClientContext()
    _fill(context, fields)
    if context.client is not None:
        client = Client()
        _fill(client, context.client)
        context.client = client
    return context


def _identity(fields: dict[str, Any]) -> CognitoIdentity:
    identity = CognitoIdentity(*())
    identity.cognito_identity_id = fields.get("cognitoIdentityId")
    identity.cognito_identity_pool_id = fields.get("cognitoIdentityPoolId")
    return identity


def _fill(target: Client | ClientContext, fields: dict[str, Any]) -> None:
    for name in target.__slots__:
        setattr(target, name, fields.get(name))


def _shown(value: object, names: tuple[str, ...]) -> str:
    parts = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{type(value).__name__}([{parts}])"
