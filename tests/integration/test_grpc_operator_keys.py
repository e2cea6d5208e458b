"""Another key for an operator: made by one, and by nobody else."""

from typing import Any, cast

import grpc
import grpc.aio
import pytest

from sandlot.v1 import tenants_pb2 as wire
from sandlot.v1 import tenants_pb2_grpc
from tests.fakes.backend import as_tenant, fake_engine


@pytest.mark.parametrize("who", ["operator", "acme"])
async def test_only_an_operator_makes_an_operators_key(who: str) -> None:
    async with fake_engine() as engine:
        service = cast("Any", tenants_pb2_grpc).TenantServiceStub(engine.channel)

        async def create(*, operator: bool) -> Any:
            request = wire.CreateKeyRequest(operator=operator)
            return await service.CreateKey(request, metadata=as_tenant(who), timeout=20)

        plain = await create(operator=False)
        if who == "operator":
            made = await create(operator=True)
            assert made.key.is_operator
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await create(operator=True)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    assert not plain.key.is_operator
