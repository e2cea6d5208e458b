"""What every `TenantStore` promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.network import Network
from tests.fakes.stores import ADAPTERS, OpenStore, Store
from tests.fakes.things import function, key, tenant


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    open_store: OpenStore = request.param
    async with open_store(tmp_path) as opened:
        yield opened


async def test_a_tenant_comes_back_as_it_was_stored(store: Store) -> None:
    trusted = replace(tenant(), network=Network.HOST, network_allow=("10.0.0.1/32",))
    await store.create_tenant(trusted)

    assert await store.list_tenants(after="", limit=9) == [trusted]


async def test_a_tenant_id_is_taken_once(store: Store) -> None:
    await store.create_tenant(tenant())

    with pytest.raises(AlreadyExists):
        await store.create_tenant(tenant())


async def test_a_change_replaces_a_tenant(store: Store) -> None:
    await store.create_tenant(tenant())
    changed = replace(
        tenant(),
        name="other",
        concurrency=99,
        network=Network.EGRESS,
        network_allow=("10.1.0.0/16", "fd00::/8"),
        is_suspended=True,
    )

    await store.put_tenant(changed)

    assert await store.list_tenants(after="", limit=9) == [changed]


async def test_a_tenant_that_is_gone_cannot_be_changed(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.put_tenant(tenant())


async def test_tenants_are_listed_by_id(store: Store) -> None:
    for id_ in ("3", "1", "2"):
        await store.create_tenant(tenant(id_))

    page = await store.list_tenants(after="1", limit=1)

    assert [each.id for each in page] == ["2"]


async def test_a_tenant_with_functions_is_not_deleted(store: Store) -> None:
    await store.create_tenant(tenant("1"))
    await store.create_key(key(tenant_id="1"), b"sealed")
    await store.create_function(function(tenant_id="1"))

    with pytest.raises(Conflict):
        await store.delete_tenant("1")
    assert await store.get_key(key().id) is not None


async def test_a_tenant_is_deleted_with_its_keys_only(store: Store) -> None:
    await store.create_tenant(tenant("1"))
    await store.create_key(key("mine", tenant_id="1"), b"sealed")
    await store.create_key(key("other", tenant_id="2"), b"sealed")

    assert await store.delete_tenant("1")
    assert not await store.delete_tenant("1")
    assert await store.get_key("mine") is None
    assert await store.get_key("other") is not None


async def test_a_key_comes_back_with_its_sealed_secret(store: Store) -> None:
    operators = replace(key(), is_operator=True)
    await store.create_key(operators, b"\x00sealed\xff")

    assert await store.get_key(key().id) == (operators, b"\x00sealed\xff")


async def test_a_key_id_is_taken_once_by_whomever(store: Store) -> None:
    await store.create_key(key(tenant_id="1"), b"first")

    with pytest.raises(AlreadyExists):
        await store.create_key(key(tenant_id="2"), b"second")


async def test_keys_are_listed_by_id_and_one_tenants_own(store: Store) -> None:
    for id_ in ("c", "a", "b"):
        await store.create_key(key(id_, tenant_id="1"), b"")
    await store.create_key(key("d", tenant_id="2"), b"")

    page = await store.list_keys("1", after="a", limit=5)

    assert [each.id for each in page] == ["b", "c"]


async def test_a_key_is_deleted_once(store: Store) -> None:
    await store.create_key(key(), b"")

    assert await store.delete_key(key().id)
    assert not await store.delete_key(key().id)
    assert await store.get_key(key().id) is None


async def test_some_of_what_is_sealed_is_found(store: Store) -> None:
    assert await store.sealed_secrets(limit=2) == []
    await store.create_tenant(tenant())
    for id_ in "cab":
        await store.create_key(key(id_, tenant_id="1"), id_.encode())

    assert await store.sealed_secrets(limit=2) == [("a", b"a"), ("b", b"b")]
