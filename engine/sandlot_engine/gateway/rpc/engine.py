"""`EngineService`: what the engine is and can do."""

from dataclasses import replace

from sandlot.v1 import tenants_pb2 as wire
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import runtime_out, status_out
from sandlot_engine.model.network import Network


class EngineService:
    """Status for operators; version and runtimes for tenants."""

    def __init__(self, backend: Backend) -> None:
        self._status = backend.status
        self._functions = backend.functions

    async def GetStatus(
        self, _request: wire.GetStatusRequest, _: Context
    ) -> wire.GetStatusResponse:
        status = await self._status()
        if not current_caller().is_operator:
            # How many instances live is other tenants' traffic, and a layer that
            # does not hold is a hint for breaking out.
            status = replace(status, mode="", layers=(), zygotes=0, instances=0)
            return status_out(status, on_host_network={})
        on_host_network = self._functions.count_by_network(Network.HOST)
        return status_out(status, on_host_network=on_host_network)

    async def ListRuntimes(
        self, _request: wire.ListRuntimesRequest, _: Context
    ) -> wire.ListRuntimesResponse:
        runtimes = sorted((await self._status()).runtimes, key=lambda one: one.name)
        if current_caller().is_operator:
            counts = self._functions.count_by_runtime()
            told = [runtime_out(one, counts.get(one.name, 0)) for one in runtimes]
        else:
            # Where things lie on the machine is nothing that a tenant has to know.
            told = [
                runtime_out(replace(one, path=""), 0)
                for one in runtimes
                if not one.problem
            ]
        return wire.ListRuntimesResponse(runtimes=told)
