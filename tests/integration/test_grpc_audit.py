"""What an operator changes is in the engine's log, and no secret is."""

import logging
from typing import Any, cast

import grpc.aio
import pytest

from sandlot.v1 import tenants_pb2 as wire
from sandlot.v1 import tenants_pb2_grpc
from sandlot_engine.gateway.rpc import audit
from tests.fakes.backend import ACME, OPERATOR, FakeEngine, as_tenant, fake_engine


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.name == "sandlot.audit"]


def _tenants(engine: FakeEngine) -> Any:
    return cast("Any", tenants_pb2_grpc).TenantServiceStub(engine.channel)


async def test_what_an_operator_changes_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    key = as_tenant("operator")
    async with fake_engine() as engine:
        tenants = _tenants(engine)
        await tenants.ListTenants(wire.ListTenantsRequest(), metadata=key, timeout=20)
        await tenants.UpdateTenant(
            wire.UpdateTenantRequest(id=ACME, suspended=True), metadata=key, timeout=20
        )
        await tenants.ImportKey(
            wire.ImportKeyRequest(
                tenant_id=ACME,
                access_key_id="AKIAIMPORTED00000",
                secret_access_key="not-to-be-told",
            ),
            metadata=key,
            timeout=20,
        )

    changed, imported = _told(caplog)
    assert changed.startswith("UpdateTenant by ")
    assert f"for tenant {OPERATOR}: id={ACME} suspended=true " in changed
    assert f"tenant_id={ACME} access_key_id=AKIAIMPORTED00000 " in imported
    assert "not-to-be-told" not in caplog.text


def test_what_a_worker_forwards_is_told_by_the_core_alone() -> None:
    request = wire.RevokeKeyRequest(access_key_id="AKIA")

    assert audit.about(request) == "access_key_id=AKIA"
    assert audit.about(wire.RevokeKeyRequest()) == "-"
    assert not audit.about(request.SerializeToString())


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (wire.UpdateTenantRequest(id=ACME, suspended=False), "suspended=false"),
        (wire.UpdateTenantRequest(id=ACME, concurrency=1), ""),
        (wire.CreateKeyRequest(tenant_id=OPERATOR, operator=True), "operator=true"),
        (wire.CreateKeyRequest(tenant_id=ACME), ""),
    ],
)
def test_what_makes_it_another_thing_is_told(request_: Any, told: str) -> None:
    assert audit.about(request_).partition(" ")[2] == told


async def test_what_is_refused_or_a_tenants_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with fake_engine() as engine:
        tenants = _tenants(engine)
        with pytest.raises(grpc.aio.AioRpcError):
            await tenants.UpdateTenant(
                wire.UpdateTenantRequest(id="000000000404", name="x"),
                metadata=as_tenant("operator"),
                timeout=20,
            )
        await tenants.CreateKey(
            wire.CreateKeyRequest(), metadata=as_tenant("acme"), timeout=20
        )

    assert _told(caplog) == []
