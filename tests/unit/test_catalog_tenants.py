"""Tenants, their keys, and who gets in with which."""

import errno
import re
from collections.abc import Awaitable, Callable

import pytest

from sandlot_engine.catalog import tenants as catalog
from sandlot_engine.catalog.seal import MASTER_KEY_BYTES, Sealer
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    Unauthenticated,
)
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import DEFAULT_TENANT_ID, AccessKey
from tests.fakes.stores import MemoryStore
from tests.fakes.things import function

SEALER = Sealer(bytes(MASTER_KEY_BYTES))
ACME = "000000000042"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def tenants(store: MemoryStore) -> Tenants:
    return await started(store)


async def started(store: MemoryStore) -> Tenants:
    made = Tenants(store, SEALER, clock=SystemClock())
    await made.ensure_operator()
    return made


async def test_the_first_start_makes_the_operator(store: MemoryStore) -> None:
    made = Tenants(store, SEALER, clock=SystemClock())

    first = await made.ensure_operator()

    assert first is not None
    key, secret = first
    assert key.tenant_id == DEFAULT_TENANT_ID
    assert key.is_operator
    assert await made.authenticate(key.id, secret) == key
    assert made.concurrency(DEFAULT_TENANT_ID) == 1_000


async def test_the_operators_functions_may_share_the_machines_network(
    tenants: Tenants,
) -> None:
    assert tenants.grant_network(DEFAULT_TENANT_ID, Network.HOST) == ()


async def test_a_new_tenants_functions_have_no_network(tenants: Tenants) -> None:
    await tenants.create("acme", ACME)

    assert tenants.grant_network(ACME, Network.NONE) == ()
    for more in (Network.EGRESS, Network.HOST):
        with pytest.raises(PermissionDenied):
            tenants.grant_network(ACME, more)


async def test_egress_comes_with_what_the_tenant_may_reach_besides(
    tenants: Tenants,
) -> None:
    await tenants.create(
        "acme",
        ACME,
        network=Network.HOST,
        network_allow=["192.168.0.0/16", "10.1.0.0/16"],
    )

    assert tenants.grant_network(ACME, Network.EGRESS) == (
        "10.1.0.0/16",
        "192.168.0.0/16",
    )
    assert tenants.grant_network(ACME, Network.HOST) == ()
    assert tenants.grant_network(ACME, Network.NONE) == ()


async def test_a_network_that_is_taken_back_is_granted_no_more(
    tenants: Tenants, store: MemoryStore
) -> None:
    await tenants.create(
        "acme", ACME, network=Network.EGRESS, network_allow=["10.0.0.0/8"]
    )

    await tenants.update(ACME, network_allow=[])
    emptied = tenants.grant_network(ACME, Network.EGRESS)
    await tenants.update(ACME, network=Network.NONE)

    assert emptied == ()
    for one in (tenants, await started(store)):
        with pytest.raises(PermissionDenied):
            one.grant_network(ACME, Network.EGRESS)


async def test_a_list_survives_that_the_network_is_taken_back(tenants: Tenants) -> None:
    await tenants.create(
        "acme", ACME, network=Network.EGRESS, network_allow=["10.0.0.0/8"]
    )

    await tenants.update(ACME, network=Network.NONE)
    await tenants.update(ACME, network=Network.EGRESS)

    assert tenants.grant_network(ACME, Network.EGRESS) == ("10.0.0.0/8",)


async def test_what_would_allow_nothing_is_refused(tenants: Tenants) -> None:
    with pytest.raises(InvalidParameter, match="have no network"):
        await tenants.create("acme", ACME, network_allow=["10.0.0.0/8"])
    with pytest.raises(NotFound):
        await tenants.get(ACME)


async def test_the_second_start_makes_nothing(store: MemoryStore) -> None:
    await started(store)

    again = Tenants(store, SEALER, clock=SystemClock())

    assert await again.ensure_operator() is None


async def test_a_start_that_died_before_the_key_was_made_is_repaired(
    store: MemoryStore,
) -> None:
    await started(store)
    [key] = await store.list_keys(DEFAULT_TENANT_ID, after="", limit=9)
    await store.delete_key(key.id)

    again = Tenants(store, SEALER, clock=SystemClock())

    assert await again.ensure_operator() is not None


async def test_the_operators_key_is_told_before_it_is_kept(store: MemoryStore) -> None:
    def full(_: AccessKey, __: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await Tenants(store, SEALER, clock=SystemClock()).ensure_operator(full)

    again, told = Tenants(store, SEALER, clock=SystemClock()), list[AccessKey]()
    await again.ensure_operator(lambda key, _: told.append(key))
    assert told == await store.list_keys(DEFAULT_TENANT_ID, after="", limit=9)


async def test_a_tenant_comes_with_a_key_that_works(tenants: Tenants) -> None:
    tenant, key, secret = await tenants.create("acme", concurrency=7)

    assert re.fullmatch(r"\d{12}", tenant.id)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", key.id)
    assert len(secret) == 40
    assert await tenants.authenticate(key.id, secret) == key
    assert not key.is_operator
    assert tenants.concurrency(tenant.id) == 7


async def test_a_tenant_can_choose_its_id_once(tenants: Tenants) -> None:
    tenant, _, _ = await tenants.create("acme", ACME)

    assert tenant.id == ACME
    assert tenant.concurrency == 1_000
    with pytest.raises(AlreadyExists):
        await tenants.create("other", ACME)


@pytest.mark.parametrize(
    ("name", "tenant_id", "concurrency"),
    [
        ("", "", 0),
        ("x" * 65, "", 0),
        ("a\nb", "", 0),
        ("acme", "42", 0),
        ("acme", "\u0660" * 12, 0),
        ("acme", ACME + "\n", 0),
        ("acme", "", -1),
        ("acme", "", 100_001),
    ],
)
async def test_a_tenant_over_a_limit_is_refused(
    tenants: Tenants, name: str, tenant_id: str, concurrency: int
) -> None:
    with pytest.raises(InvalidParameter):
        await tenants.create(name, tenant_id, concurrency)


async def test_a_tenant_at_its_limits_is_made(tenants: Tenants) -> None:
    longest, _, _ = await tenants.create("x" * 64, "", 100_000)
    shortest, _, _ = await tenants.create("x", "", 1)

    assert (longest.concurrency, shortest.concurrency) == (100_000, 1)


async def test_an_update_changes_only_what_it_names(tenants: Tenants) -> None:
    await tenants.create("acme", ACME, 5)

    await tenants.update(ACME, concurrency=9)

    tenant = await tenants.get(ACME)
    assert (tenant.name, tenant.concurrency) == ("acme", 9)
    assert tenants.concurrency(ACME) == 9
    with pytest.raises(InvalidParameter):
        await tenants.update(ACME, concurrency=0)


async def test_that_settings_have_changed_is_told(store: MemoryStore) -> None:
    told: list[str] = []
    tenants = Tenants(store, SEALER, clock=SystemClock(), note_change=told.append)
    await tenants.ensure_operator()
    await tenants.create("acme", ACME)

    await tenants.update(ACME, concurrency=7)

    assert told == [ACME]


async def test_nobody_has_a_key_of_a_tenant_that_is_not_there(tenants: Tenants) -> None:
    with pytest.raises(NotFound):
        await tenants.create_key(ACME)
    with pytest.raises(NotFound):
        await tenants.import_key(ACME, "EXAMPLE1EXAMPLE2", "hunter22")


async def test_tenants_survive_a_restart(store: MemoryStore, tenants: Tenants) -> None:
    tenant, key, secret = await tenants.create("acme", ACME)

    again = await started(store)

    assert await again.get(ACME) == tenant
    assert await again.authenticate(key.id, secret) == key


async def test_a_wrong_secret_and_an_unknown_id_are_refused_alike(
    tenants: Tenants,
) -> None:
    _, key, secret = await tenants.create("acme")
    messages = set()

    for key_id, given in [
        (key.id, secret + "x"),
        (key.id, ""),
        ("AKIA" + "B" * 16, ""),
    ]:
        for _ in range(2):  # not known yet, then cached
            with pytest.raises(Unauthenticated) as refusal:
                await tenants.authenticate(key_id, given)
            messages.add(str(refusal.value))

    assert len(messages) == 1
    assert secret not in messages.pop()


async def test_an_unknown_id_does_not_get_in_with_the_secret_it_is_checked_with(
    tenants: Tenants,
) -> None:
    key, secret = await tenants.signing_secret("AKIA" + "B" * 16)

    assert key is None
    with pytest.raises(Unauthenticated):
        await tenants.authenticate("AKIA" + "B" * 16, secret)


async def test_a_key_is_looked_up_once_for_signatures_and_secrets_alike(
    tenants: Tenants, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key, secret = await tenants.create("acme", ACME)
    asked = []
    real = store.get_key

    async def counted(key_id: str) -> object:
        asked.append(key_id)
        return await real(key_id)

    monkeypatch.setattr(store, "get_key", counted)
    unknown = "AKIA" + "B" * 16
    for _ in range(3):
        assert await tenants.signing_secret(key.id) == (key, secret)
        assert (await tenants.signing_secret(unknown))[0] is None
    await tenants.authenticate(key.id, secret)

    assert asked == [key.id, unknown]


async def test_a_key_that_is_taken_back_signs_no_more(tenants: Tenants) -> None:
    _, key, secret = await tenants.create("acme", ACME)
    await tenants.signing_secret(key.id)

    await tenants.revoke_key(ACME, key.id)

    found, checked_with = await tenants.signing_secret(key.id)
    assert found is None
    assert checked_with != secret


Revoke = Callable[[Tenants, str], Awaitable[None]]


@pytest.mark.parametrize(
    "revoke",
    [
        lambda tenants, key_id: tenants.revoke_key(ACME, key_id),
        lambda tenants, key_id: tenants.revoke_key(None, key_id),
        lambda tenants, _: tenants.delete(ACME),
    ],
)
async def test_a_key_that_was_used_fails_at_once_when_it_is_taken_back(
    tenants: Tenants, revoke: Revoke
) -> None:
    _, key, secret = await tenants.create("acme", ACME)
    await tenants.authenticate(key.id, secret)

    await revoke(tenants, key.id)

    with pytest.raises(Unauthenticated):
        await tenants.authenticate(key.id, secret)


async def test_a_key_taken_back_while_it_is_looked_up_is_not_cached(
    tenants: Tenants, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key, secret = await tenants.create("acme", ACME)
    real = store.get_key

    async def slow(key_id: str) -> object:
        found = await real(key_id)
        monkeypatch.undo()
        await tenants.revoke_key(None, key_id)
        return found

    monkeypatch.setattr(store, "get_key", slow)
    await tenants.authenticate(key.id, secret)

    with pytest.raises(Unauthenticated):
        await tenants.authenticate(key.id, secret)


async def test_a_key_that_is_imported_while_it_is_looked_up_is_not_unknown(
    tenants: Tenants, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenants.create("acme", ACME)
    real = store.get_key

    async def slow(key_id: str) -> object:
        found = await real(key_id)
        monkeypatch.undo()
        await tenants.import_key(ACME, key_id, "hunter22")
        return found

    monkeypatch.setattr(store, "get_key", slow)
    with pytest.raises(Unauthenticated):
        await tenants.authenticate("EXAMPLE1EXAMPLE2", "hunter22")

    key = await tenants.authenticate("EXAMPLE1EXAMPLE2", "hunter22")
    assert key.tenant_id == ACME


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_that_keys_are_taken_back_is_told_at_once(
    store: MemoryStore, *, is_deleted: bool
) -> None:
    told: list[str] = []
    tenants = Tenants(store, SEALER, clock=SystemClock(), note_change=told.append)
    await tenants.ensure_operator()
    _, key, _ = await tenants.create("acme", ACME)
    told.clear()

    if is_deleted:
        await tenants.delete(ACME)
    else:
        await tenants.revoke_key(ACME, key.id)

    assert told == [""]


async def test_an_operator_cannot_take_back_the_last_key_of_an_operators(
    tenants: Tenants,
) -> None:
    (first,), _ = await tenants.list_keys(DEFAULT_TENANT_ID)
    await tenants.create_key(DEFAULT_TENANT_ID)

    with pytest.raises(Conflict, match="key create --operator"):
        await tenants.revoke_key(None, first.id)
    another, secret = await tenants.create_key(DEFAULT_TENANT_ID, operator=True)
    await tenants.revoke_key(None, first.id)

    assert await tenants.authenticate(another.id, secret) == another


async def test_a_tenant_cannot_take_back_anothers_key(tenants: Tenants) -> None:
    _, key, secret = await tenants.create("acme", ACME)

    with pytest.raises(NotFound):
        await tenants.revoke_key(DEFAULT_TENANT_ID, key.id)
    assert await tenants.authenticate(key.id, secret) == key


async def test_an_imported_key_works_even_if_it_was_tried_before(
    tenants: Tenants,
) -> None:
    await tenants.create("acme", ACME)
    with pytest.raises(Unauthenticated):
        await tenants.authenticate("EXAMPLE1EXAMPLE2", "hunter22")

    key = await tenants.import_key(ACME, "EXAMPLE1EXAMPLE2", "hunter22")

    assert await tenants.authenticate("EXAMPLE1EXAMPLE2", "hunter22") == key
    assert not key.is_operator
    with pytest.raises(AlreadyExists):
        await tenants.import_key(DEFAULT_TENANT_ID, "EXAMPLE1EXAMPLE2", "hunter22")


@pytest.mark.parametrize(
    ("key_id", "secret"),
    [
        ("short", "hunter22"),
        ("x" * 129, "hunter22"),
        ("with-hyphens-in-it", "hunter22"),
        ("EXAMPLE1EXAMPLE2", "hunter2"),
        ("EXAMPLE1EXAMPLE2", "x" * 129),
        ("EXAMPLE1EXAMPLE2", "with a space"),
        ("EXAMPLE1EXAMPLE2", "hunter22\n"),
    ],
)
async def test_a_key_pair_of_another_form_is_not_imported(
    tenants: Tenants, key_id: str, secret: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await tenants.import_key(DEFAULT_TENANT_ID, key_id, secret)
    assert secret not in str(refusal.value)


async def test_keys_are_listed_page_by_page_without_secrets(tenants: Tenants) -> None:
    await tenants.create("acme", ACME)
    made = {(await tenants.create_key(ACME))[0].id for _ in range(2)}

    page, token = await tenants.list_keys(ACME, 2)
    rest, end = await tenants.list_keys(ACME, 2, token)

    assert made < {key.id for key in page + rest}
    assert (len(page), len(rest), end) == (2, 1, "")


async def test_a_tenant_has_a_bounded_number_of_keys(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "MAX_KEYS_PER_TENANT", 2)
    await tenants.create("acme", ACME)
    await tenants.create_key(ACME)

    with pytest.raises(QuotaExceeded, match="2 access keys of 2"):
        await tenants.create_key(ACME)


async def test_the_cache_of_keys_is_bounded(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "MAX_CACHED_KEYS", 3)
    _, key, secret = await tenants.create("acme")

    for number in range(10):
        with pytest.raises(Unauthenticated):
            await tenants.authenticate(f"AKIA{number:016}", "")

    assert await tenants.authenticate(key.id, secret) == key
    with pytest.raises(Unauthenticated):
        await tenants.authenticate("x" * 1_000, "")
    assert len(tenants._cache) == 3  # noqa: SLF001 -- nothing else shows it


async def test_a_tenant_with_functions_is_not_deleted(
    tenants: Tenants, store: MemoryStore
) -> None:
    _, key, secret = await tenants.create("acme", ACME)
    await store.create_function(function(tenant_id=ACME))

    with pytest.raises(Conflict):
        await tenants.delete(ACME)
    assert await tenants.authenticate(key.id, secret) == key


async def test_a_deleted_tenant_is_not_found(tenants: Tenants) -> None:
    await tenants.create("acme", ACME)

    await tenants.delete(ACME)

    with pytest.raises(NotFound):
        await tenants.get(ACME)
    with pytest.raises(NotFound):
        tenants.concurrency(ACME)


async def test_the_operators_tenant_is_not_deleted(tenants: Tenants) -> None:
    with pytest.raises(InvalidParameter):
        await tenants.delete(DEFAULT_TENANT_ID)


async def test_tenants_are_listed_page_by_page(tenants: Tenants) -> None:
    await tenants.create("acme", ACME)

    page, token = await tenants.list(1)
    rest, end = await tenants.list(1, token)

    assert [each.id for each in page + rest] == [DEFAULT_TENANT_ID, ACME]
    assert end == ""


async def test_nothing_of_a_suspended_tenant_runs_and_its_keys_say_so(
    store: MemoryStore,
) -> None:
    tenants = await started(store)
    _, key, secret = await tenants.create("acme", ACME)
    await tenants.authenticate(key.id, secret)

    await tenants.update(ACME, is_suspended=True)
    again = await started(store)

    for each in (tenants, again):
        with pytest.raises(Conflict, match="suspended by the operator"):
            each.grant_network(ACME, Network.NONE)
        assert (await each.authenticate(key.id, secret)).is_suspended
        found, _ = await each.signing_secret(key.id)
        assert found is not None
        assert found.is_suspended
    await tenants.update(ACME, is_suspended=False)
    assert tenants.grant_network(ACME, Network.NONE) == ()
    assert await tenants.authenticate(key.id, secret) == key


async def test_the_operators_own_tenant_is_not_suspended(tenants: Tenants) -> None:
    with pytest.raises(InvalidParameter, match="cannot be suspended"):
        await tenants.update(DEFAULT_TENANT_ID, is_suspended=True)


async def test_an_operator_has_another_key_and_no_other_tenant_has_one(
    tenants: Tenants,
) -> None:
    await tenants.create("acme", ACME)

    key, secret = await tenants.create_key(DEFAULT_TENANT_ID, operator=True)

    assert (await tenants.authenticate(key.id, secret)).is_operator
    with pytest.raises(InvalidParameter, match="belongs to tenant 000000000001"):
        await tenants.create_key(ACME, operator=True)
