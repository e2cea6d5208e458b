"""What every `FunctionStore` promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.function import FunctionState, UpdateStatus
from sandlot_engine.model.network import Network
from sandlot_engine.store.ports import FunctionStore
from tests.fakes.stores import ADAPTERS, OpenStore
from tests.fakes.things import function, revision


@pytest.fixture(params=ADAPTERS)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[FunctionStore]:
    open_store: OpenStore = request.param
    async with open_store(tmp_path) as opened:
        yield opened


async def test_a_function_comes_back_as_it_was_stored(store: FunctionStore) -> None:
    stored = function(
        pending=revision("rev-2", sha256="bb"),
        update_status=UpdateStatus.IN_PROGRESS,
        fork_safe=False,
        fork_safety_reason="an open socket",
    )
    await store.create_function(stored)

    assert await store.get_function("1", "resize") == stored


@pytest.mark.parametrize("network", Network)
async def test_a_function_keeps_its_network(
    store: FunctionStore, network: Network
) -> None:
    config = replace(revision().config, network=network)
    stored = function(serving=replace(revision(), config=config))
    await store.create_function(stored)

    assert await store.get_function("1", "resize") == stored


async def test_a_function_without_a_serving_revision_comes_back_too(
    store: FunctionStore,
) -> None:
    stored = function(serving=None, pending=revision(), state=FunctionState.PENDING)
    await store.create_function(stored)

    assert await store.get_function("1", "resize") == stored


async def test_what_is_not_there_is_none(store: FunctionStore) -> None:
    assert await store.get_function("1", "resize") is None


async def test_a_name_is_taken_once_by_each_tenant(store: FunctionStore) -> None:
    await store.create_function(function(tenant_id="1"))
    await store.create_function(function(tenant_id="2"))

    with pytest.raises(AlreadyExists):
        await store.create_function(function(tenant_id="1", state_reason="other"))
    kept = await store.get_function("1", "resize")
    assert kept is not None
    assert kept.state_reason == ""


async def test_a_change_replaces_the_revision_it_expects(store: FunctionStore) -> None:
    await store.create_function(function())
    changed = function(pending=revision("rev-2"))

    await store.put_function(changed, expected="rev-1")

    assert await store.get_function("1", "resize") == changed


async def test_a_change_of_something_older_is_a_conflict(store: FunctionStore) -> None:
    await store.create_function(function())
    await store.put_function(function(pending=revision("rev-2")), expected="rev-1")

    with pytest.raises(Conflict):
        await store.put_function(function(), expected="rev-1")
    kept = await store.get_function("1", "resize")
    assert kept is not None
    assert kept.current.id == "rev-2"


async def test_a_change_of_something_deleted_is_not_found(store: FunctionStore) -> None:
    with pytest.raises(NotFound):
        await store.put_function(function(), expected="rev-1")


async def test_a_list_is_by_name_and_one_tenants_own(store: FunctionStore) -> None:
    for name in ("c", "a", "b"):
        await store.create_function(function(name))
    await store.create_function(function("a", tenant_id="2"))

    page = await store.list_functions("1", after="a", limit=5)
    first = await store.list_functions("1", after="", limit=1)

    assert [each.name for each in page] == ["b", "c"]
    assert [each.name for each in first] == ["a"]


async def test_an_engine_that_starts_finds_every_tenants(store: FunctionStore) -> None:
    await store.create_function(function(tenant_id="2"))
    await store.create_function(function(tenant_id="1"))

    functions = await store.all_functions()

    assert {each.tenant_id for each in functions} == {"1", "2"}


async def test_a_function_is_deleted_once(store: FunctionStore) -> None:
    await store.create_function(function())

    assert await store.delete_function("1", "resize")
    assert not await store.delete_function("1", "resize")
    assert await store.get_function("1", "resize") is None


async def test_code_is_in_use_while_any_revision_has_it(store: FunctionStore) -> None:
    both = function(serving=revision(sha256="old"), pending=revision("2", sha256="new"))
    await store.create_function(both)

    assert await store.code_in_use("old")
    assert await store.code_in_use("new")

    await store.put_function(replace(both, pending=None), expected="2")

    assert await store.code_in_use("old")
    assert not await store.code_in_use("new")
