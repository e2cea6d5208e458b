"""Load a handler and call it, with AWS's semantics and AWS's error texts.

The tenant's failures are values (`Failure`, or an `Answer` that is not ok), with one
kind of exception: what is no `Exception` (SystemExit, KeyboardInterrupt and their
like) passes through `load_handler` and `invoke`. On AWS it ends the runtime's process,
so whoever calls these ends its process too.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress

from . import awslambdaricmain, streaming
from .failures import Failure, error_payload, failure_of, print_failure, text_of
from .marshalling import MAX_RESPONSE, marshal, unmarshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .context import LambdaContext
    from .streaming import Pieces

    Handler = Callable[[Any, Any], Any]

__all__ = [
    "Answer",
    "Failure",
    "error_payload",
    "failed",
    "invoke",
    "load_handler",
    "print_init_failure",
]

RESPONSE_TOO_LARGE = (
    b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
    b'(%d bytes).","errorType":"Function.ResponseSizeTooLarge"}' % MAX_RESPONSE
)

INIT_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. "
    "The most likely cause is an issue in the function code."
)


class Answer:
    """What an invocation came to: the payload to send, and whether it is a result."""

    __slots__ = ("error_type", "ok", "payload")

    def __init__(self, ok: bool, payload: bytes, error_type: str = "") -> None:
        self.ok = ok
        self.payload = payload
        self.error_type = error_type

    def __repr__(self) -> str:
        how = "ok" if self.ok else self.error_type
        return f"<Answer {how} · {len(self.payload)} bytes>"


def load_handler(handler: str) -> Handler | Failure:
    """Import the module of `pkg/module.function` and return the function.

    Runs tenant code. What the import raises becomes a `Failure`, except for what is
    no `Exception` (see above).
    """
    module_name, dot, function_name = handler.rpartition(".")
    if not dot:
        # The text is Python's own for a failed two-part unpacking, as on AWS.
        return Failure(
            "Runtime.MalformedHandlerName",
            f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)",
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        return Failure(
            "Runtime.BuiltInModuleConflict",
            f"Cannot use built-in module {module_name} as a handler module",
        )
    return _import_handler(module_name, function_name)


def invoke(
    handler: Handler,
    event: bytes,
    context: LambdaContext,
    pieces: Pieces | None = None,
) -> Answer:
    """Call the handler with the parsed event. A failure is also printed to the log.

    A handler that answers in pieces writes them to `pieces`; if it has begun to, the
    answer says only how that ended.
    """
    request_id = context.aws_request_id  # Now: the handler may change its context.
    result = _call(handler, event, context, pieces)
    if isinstance(result, Failure):
        return failed(result, request_id)
    if len(result) > MAX_RESPONSE:
        return Answer(
            ok=False,
            payload=RESPONSE_TOO_LARGE,
            error_type="Function.ResponseSizeTooLarge",
        )
    return Answer(*(True, result))


def failed(failure: Failure, request_id: str) -> Answer:
    """Print the failure to the log and make the answer that reports it."""
    print_failure(failure, request_id)
    return Answer(
        ok=False,
        payload=error_payload(failure, request_id),
        error_type=failure.error_type,
    )


def print_init_failure(failure: Failure) -> None:
    """Log a failed init as AWS does: a warning, then the error."""
    # The tenant may have put handlers of its own on the root logger.
    with suppress(Exception):
        # Not before: see `logging_setup`.
        import logging

        logging.warning(INIT_WARNING)  # noqa: LOG015  (AWS logs it there)
    print_failure(failure)


def _import_handler(module_name: str, function_name: str) -> Handler | Failure:
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        return Failure(
            "Runtime.ImportModuleError",
            f"Unable to import module '{module_name}': {text_of(error)}",
        )
    except SyntaxError as error:
        return Failure(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {text_of(error)}",
            [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'],
        )
    except Exception as error:  # noqa: BLE001  (importing runs tenant code)
        return failure_of(error)
    return _function_of(module, function_name, module_name)


def _function_of(
    module: object, function_name: str, module_name: str
) -> Handler | Failure:
    try:
        function: Handler = getattr(module, function_name)
    except AttributeError:
        return Failure(
            "Runtime.HandlerNotFound",
            f"Handler '{function_name}' missing on module '{module_name}'",
        )
    except Exception as error:  # noqa: BLE001  (a module may have a __getattr__)
        return failure_of(error)
    try:
        return awslambdaricmain.as_changed(function)
    except Exception as error:  # noqa: BLE001  (what was put there is tenant code)
        return failure_of(error)


def _call(
    handler: Handler, event: bytes, context: LambdaContext, pieces: Pieces | None
) -> bytes | Failure:
    """The result; of one that was sent in pieces, nothing is left."""
    value = unmarshal(event)
    if isinstance(value, Failure):
        return value
    try:
        if pieces is not None and getattr(handler, streaming.MARK, False) is True:
            streaming.call(handler, value, context, pieces)
            return b""
        result = handler(*(value, context))  # see `instance.REHEARSALS`
        if pieces is not None and type(result) is streaming.Generator:
            streaming.run(result, pieces)
            return b""
    except Exception as error:  # noqa: BLE001  (this is the tenant's code)
        return failure_of(error)
    return marshal(result)
