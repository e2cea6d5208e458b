"""Functions as gRPC shows them, whichever service is asked."""

from collections.abc import Iterable

from sandlot.v1 import functions_pb2 as wire
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc.convert import function_out
from sandlot_engine.model.function import Function


class Showing:
    """Model to wire, with what else is known of a function."""

    def __init__(self, backend: Backend) -> None:
        self._region = backend.region
        self._status = backend.status
        self._instances_of = backend.instances_of
        self._settings = backend.settings

    async def one(self, function: Function) -> wire.Function:
        (shown,) = await self.all([function])
        return shown

    async def all(self, functions: Iterable[Function]) -> list[wire.Function]:
        layers = (await self._status()).layers
        given_up = [layer.name for layer in layers if layer.given_up]
        weaker = [layer.name for layer in layers if layer.is_weaker]
        return [
            function_out(
                function,
                region=self._region,
                given_up=given_up,
                weaker=weaker,
                instances=self._instances_of(function),
                tags=self._settings.of(function.tenant_id, function.name).tags,
            )
            for function in functions
        ]
