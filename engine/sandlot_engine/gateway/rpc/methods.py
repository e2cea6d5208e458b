"""The methods of a server: which of them are unlike the others, and all in one table,
which stands for the server where generated code registers them.

What generated code does by itself costs every call: grpc.aio (1.71 and later) waits
for the next call of each registered method by a task of its own, and goes through all
of these tasks, forty of them here, for each call that comes in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from sandlot_engine.gateway.rpc import Handler

SERVICES = "/sandlot.v1."
"""Our own methods. Health and reflection are public knowledge."""

UPLOADS = {
    f"{SERVICES}FunctionService/CreateFunction": 3,
    f"{SERVICES}FunctionService/UpdateFunctionCode": 2,
    f"{SERVICES}LayerService/PublishLayer": 2,
}
"""Methods that take a package, and the number of its field."""

INVOKE = f"{SERVICES}InvocationService/Invoke"

PAYLOAD = 3
"""The number of its field."""

INVOKE_STREAM = f"{SERVICES}InvocationService/InvokeStream"
"""Has an event as well, one message deeper."""


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc,type-arg,unused-ignore]
    """Give it to `add_…Servicer_to_server`, then to the server as a generic handler."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._others: list[Any] = []

    def __len__(self) -> int:
        return len(self._handlers)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """What a service is known by where its methods are not registered one by one,
        as code says that an older generator has made."""
        self._others.extend(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, Handler]
    ) -> None:
        self._handlers.update(
            (f"/{service}/{method}", handler) for method, handler in handlers.items()
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        if found := self._handlers.get(handler_call_details.method):
            return found
        for other in self._others:
            handler: Handler | None = other.service(handler_call_details)
            if handler:
                return handler
        return None
