"""What tracers change in AWS's runtime, to see every invocation.

Sentry's integration looks for `__main__.awslambdaricmain.bootstrap`, and puts functions
of its own in the place of `handle_event_request` and of what sends the answer. Nothing
here runs by these; but what was put there is called, as it would be there.
"""

from __future__ import annotations

import atexit
import json
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[Any, Any], Any]

bootstrap = sys.modules[__name__]


class LambdaRuntimeClient:
    """Sends nothing."""

    def post_init_error(self, *_: object) -> None: ...

    def post_invocation_result(self, *_: object) -> None: ...

    def post_invocation_error(self, *_: object) -> None: ...


def handle_event_request(_: LambdaRuntimeClient, handler: Handler, *__: object) -> Any:
    """There it runs one invocation; here it gives back what would have been called."""
    return handler


_ours = handle_event_request
_post_init_error = LambdaRuntimeClient.post_init_error


def tell_of_init_error(payload: bytes) -> None:
    """Whoever has changed what sends it. As there, the process exits then, and has out
    what waits for that; no more of it than that is run here."""
    if LambdaRuntimeClient.post_init_error is _post_init_error:
        return
    # Tenant code, of which nothing is expected any more.
    with suppress(Exception):
        LambdaRuntimeClient().post_init_error(json.loads(payload))
    atexit._run_exitfuncs()  # noqa: SLF001  (no public name)


def as_changed(handler: Handler) -> Handler:
    """The handler as an import that has changed the above would have it called."""
    if bootstrap.__dict__["handle_event_request"] is _ours:
        return handler
    client = LambdaRuntimeClient()
    changed = handle_event_request(client, handler)

    def run(event: Any, context: Any) -> Any:
        try:
            result = changed(event, context)
        except Exception:
            client.post_invocation_error()
            raise
        client.post_invocation_result()
        return result

    run.__dict__.update(getattr(handler, "__dict__", {}))
    return run
