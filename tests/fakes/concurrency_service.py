# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""The fake engine's concurrency: kept, and shared out without much ado."""

from collections import Counter
from typing import Any

import grpc

from sandlot.v1 import concurrency_pb2 as wire
from sandlot.v1 import concurrency_pb2_grpc
from tests.fakes.engine import NOW, Engine, Refusal, page


class Concurrency(concurrency_pb2_grpc.ConcurrencyServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._looks: dict[tuple[str, str], int] = {}
        """How many more of them see a qualifier's instances being started."""

    def GetConcurrency(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        if request.function:
            self.engine.find(tenant_id, request.function)
        return wire.GetConcurrencyResponse(
            concurrency=self._of(tenant_id, request.function)
        )

    def PutReservedConcurrency(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.find(tenant_id, request.function)
        assert request.HasField("concurrency")
        self.engine.reserved[request.function] = request.concurrency
        return wire.PutReservedConcurrencyResponse(
            concurrency=self._of(tenant_id, request.function)
        )

    def DeleteReservedConcurrency(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.find(tenant_id, request.function)
        self.engine.reserved.pop(request.function, None)
        return wire.DeleteReservedConcurrencyResponse(
            concurrency=self._of(tenant_id, request.function)
        )

    def _of(self, tenant_id: str, function: str) -> wire.Concurrency:
        limit = self.engine.tenants[tenant_id].concurrency
        reserved = self.engine.reserved
        provisioned: Counter[str] = Counter()
        for (name, _), each in self.engine.provisioned.items():
            provisioned[name] += each.requested
        return wire.Concurrency(
            limit=limit,
            unreserved=limit - sum(reserved.values()),
            reserved={
                name: each for name, each in reserved.items() if function in ("", name)
            },
            provisioned={
                name: count
                for name, count in provisioned.items()
                if function in ("", name)
            },
        )

    def PutProvisionedConcurrency(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.version(tenant_id, request.function, request.qualifier)
        where = request.function, request.qualifier
        there = min(request.requested, self.engine.room)
        is_ready = there == request.requested
        self.engine.provisioned[where] = wire.ProvisionedConcurrency(
            function=request.function,
            qualifier=request.qualifier,
            requested=request.requested,
            allocated=there,
            available=there,
            status=wire.PROVISION_STATUS_READY
            if is_ready
            else wire.PROVISION_STATUS_FAILED,
            reason="" if is_ready else f"{there} of {request.requested} instances",
            last_modified=NOW,
        )
        self._looks[where] = self.engine.polls_until_ready
        return wire.PutProvisionedConcurrencyResponse(provisioned=self._look(where))

    def GetProvisionedConcurrency(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        where = request.function, request.qualifier
        self._require(where)
        return wire.GetProvisionedConcurrencyResponse(provisioned=self._look(where))

    def ListProvisionedConcurrency(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        found = sorted(self.engine.provisioned)
        mine = [self._look(where) for where in found if where[0] == request.function]
        items, token = page(mine, request)
        return wire.ListProvisionedConcurrencyResponse(
            provisioned=items, next_page_token=token
        )

    def DeleteProvisionedConcurrency(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        where = request.function, request.qualifier
        self._require(where)
        del self.engine.provisioned[where]
        return wire.DeleteProvisionedConcurrencyResponse()

    def _require(self, where: tuple[str, str]) -> None:
        if where not in self.engine.provisioned:
            raise Refusal(
                grpc.StatusCode.NOT_FOUND,
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )

    def _look(self, where: tuple[str, str]) -> wire.ProvisionedConcurrency:
        seen = wire.ProvisionedConcurrency()
        seen.CopyFrom(self.engine.provisioned[where])
        if left := self._looks.get(where, 0):
            self._looks[where] = left - 1
            seen.allocated = seen.available = 0
            seen.status, seen.reason = wire.PROVISION_STATUS_IN_PROGRESS, ""
        return seen
