"""Who is calling, by the words of a request."""

import pytest

from sandlot_engine.catalog.seal import MASTER_KEY_BYTES, Sealer
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import (
    SUSPENDED,
    InvalidParameter,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from sandlot_engine.gateway.auth import (
    Authenticator,
    require_operator,
    single,
    tenant_meant,
)
from sandlot_engine.model.tenant import DEFAULT_TENANT_ID, Caller
from tests.fakes.stores import MemoryStore

ACME, GLOBEX = "000000000042", "000000000077"
KEY, SECRET = "ACMES0KEY0EXAMPLE", "its:secret"


@pytest.fixture
async def tenants() -> Tenants:
    """The operator's, and two more; of which one has a key whose secret has a colon."""
    made = Tenants(MemoryStore(), Sealer(bytes(MASTER_KEY_BYTES)), clock=SystemClock())
    await made.ensure_operator()
    for name, tenant_id in (("acme", ACME), ("globex", GLOBEX)):
        await made.create(name, tenant_id)
    await made.import_key(ACME, KEY, SECRET)
    return made


@pytest.fixture
async def operator(tenants: Tenants) -> str:
    key, secret = await tenants.create_key(DEFAULT_TENANT_ID, operator=True)
    return f"Bearer {key.id}:{secret}"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
async def test_a_key_and_its_secret_are_their_tenant(
    tenants: Tenants, scheme: str
) -> None:
    caller = await Authenticator(tenants).caller_of(f"{scheme}{KEY}:{SECRET}")

    assert caller == Caller(tenant_id=ACME, access_key_id=KEY, is_operator=False)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        f"{KEY}:{SECRET}",
        f"Basic {KEY}:{SECRET}",
        f"Digest {KEY}:{SECRET}",
        f"Bearer{KEY}:{SECRET}",
        f"Bearer {KEY}",
        f"Bearer {KEY}:",
        f"Bearer :{SECRET}",
        f"Bearer {KEY}:{SECRET}x",
        "Bearer",
    ],
)
async def test_anything_else_is_nobody_and_is_not_repeated(
    tenants: Tenants, sent: str
) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await Authenticator(tenants).caller_of(sent)

    assert SECRET not in str(refusal.value)
    assert KEY not in str(refusal.value)


async def test_what_was_lacking_is_said(tenants: Tenants) -> None:
    gate = Authenticator(tenants)

    with pytest.raises(Unauthenticated, match="no key was sent"):
        await gate.caller_of("")
    for sent in (f"Bearer {KEY}:", f"Bearer :{SECRET}", f"Bearer {KEY}"):
        with pytest.raises(Unauthenticated, match="not of the form"):
            await gate.caller_of(sent)


async def test_an_operator_may_speak_for_a_tenant(
    tenants: Tenants, operator: str
) -> None:
    gate = Authenticator(tenants)

    for_itself = await gate.caller_of(operator)
    for_acme = await gate.caller_of(operator, ACME)

    assert (for_itself.tenant_id, for_itself.is_operator) == (DEFAULT_TENANT_ID, True)
    assert (for_acme.tenant_id, for_acme.is_operator) == (ACME, True)
    assert for_acme.access_key_id == for_itself.access_key_id
    with pytest.raises(NotFound):
        await gate.caller_of(operator, "000000000099")


@pytest.mark.parametrize("tenant_id", [ACME, GLOBEX, "000000000099"])
async def test_nobody_else_may_not_even_for_his_own(
    tenants: Tenants, tenant_id: str
) -> None:
    with pytest.raises(PermissionDenied, match="only an operator's key"):
        await Authenticator(tenants).caller_of(f"Bearer {KEY}:{SECRET}", tenant_id)


async def test_a_suspended_tenant_s_key_is_told_so(
    tenants: Tenants, operator: str
) -> None:
    gate = Authenticator(tenants)
    caller = await gate.caller_of(f"Bearer {KEY}:{SECRET}")
    await gate.check_still(caller)

    await tenants.update(ACME, is_suspended=True)

    with pytest.raises(PermissionDenied) as refusal:
        await gate.caller_of(f"Bearer {KEY}:{SECRET}")
    assert refusal.value.reason == SUSPENDED
    with pytest.raises(PermissionDenied):
        await gate.check_still(caller)
    assert (await gate.caller_of(operator, ACME)).tenant_id == ACME


async def test_a_call_that_lasts_ends_when_its_key_is_taken_back(
    tenants: Tenants,
) -> None:
    gate = Authenticator(tenants)
    caller = await gate.caller_of(f"Bearer {KEY}:{SECRET}")

    await tenants.revoke_key(ACME, KEY)

    with pytest.raises(Unauthenticated, match="taken back since"):
        await gate.check_still(caller)


def test_what_a_request_is_about_is_its_caller_s_or_an_operator_asks() -> None:
    tenant = Caller(tenant_id=ACME, access_key_id=KEY, is_operator=False)
    operator = Caller(tenant_id=ACME, access_key_id=KEY, is_operator=True)

    for caller in (tenant, operator):
        assert tenant_meant(caller, "") == tenant_meant(caller, ACME) == ACME
    assert tenant_meant(operator, GLOBEX) == GLOBEX
    with pytest.raises(NotFound, match="Tenant not found"):
        tenant_meant(tenant, GLOBEX)
    require_operator(operator)
    with pytest.raises(PermissionDenied, match="needs an operator's key"):
        require_operator(tenant)


def test_a_header_is_there_once() -> None:
    assert (single([], "x"), single(["a"], "x")) == ("", "a")
    with pytest.raises(InvalidParameter, match="x was sent 2 times"):
        single(["a", "a"], "x")
