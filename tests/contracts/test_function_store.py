"""What every `FunctionStore` promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.function import (
    LATEST,
    Code,
    FunctionState,
    LayerUse,
    Logging,
    UpdateStatus,
)
from sandlot_engine.model.network import Network
from sandlot_engine.store.ports import Document, FunctionStore
from tests.fakes.stores import ADAPTERS, OpenStore, Store
from tests.fakes.things import function, revision


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
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


async def test_all_settings_come_back_as_they_were_stored(store: FunctionStore) -> None:
    layer = LayerUse(arn="arn", code=Code(sha256="bb", size=1, unpacked_size=1))
    config = replace(
        revision().config,
        layers=(layer,),
        logging=Logging(format="JSON", application_level="INFO"),
        snap_start=True,
        role="arn:aws:iam::1:role/r",
        tracing="Active",
    )
    stored = function(serving=replace(revision(), config=config))
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
    changed = function(pending=revision("rev-2"), revision_id="2")

    await store.put_function(changed, expected="rev-1")

    assert await store.get_function("1", "resize") == changed


async def test_a_change_of_something_older_is_a_conflict(store: FunctionStore) -> None:
    await store.create_function(function())
    changed = function(pending=revision("rev-2"), revision_id="2")
    await store.put_function(changed, expected="rev-1")

    with pytest.raises(Conflict):
        await store.put_function(function(), expected="rev-1")
    assert await store.get_function("1", "resize") == changed


async def test_a_change_of_something_deleted_is_not_found(store: FunctionStore) -> None:
    with pytest.raises(NotFound):
        await store.put_function(function(), expected="rev-1")


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

    await store.put_function(replace(both, pending=None), expected="rev-1")

    assert await store.code_in_use("old")
    assert not await store.code_in_use("new")


async def test_a_layer_is_in_use_while_any_version_has_it(store: FunctionStore) -> None:
    layer = LayerUse(arn="arn", code=Code(sha256="layer", size=1, unpacked_size=1))
    config = replace(revision().config, layers=(layer,))
    serving = replace(revision(), config=config)
    await store.create_function(function())
    await store.create_function(function(version="1", serving=serving))

    assert await store.code_in_use("layer")

    await store.delete_version("1", "resize", "1")

    assert not await store.code_in_use("layer")
    assert await store.code_in_use("aa")


# --- versions --------------------------------------------------------------------


async def test_versions_are_stored_beside_one_another(store: FunctionStore) -> None:
    await store.create_function(function())
    await store.create_function(function(version="1"))

    changed = function(version="1", fork_safe=False)
    await store.put_function(changed, expected="rev-1")

    assert await store.get_function("1", "resize") == function()
    assert await store.get_function("1", "resize", "1") == changed
    with pytest.raises(AlreadyExists):
        await store.create_function(function(version="1"))


async def test_a_version_goes_alone_and_a_function_with_all_of_them(
    store: FunctionStore,
) -> None:
    for version in (LATEST, "1", "2"):
        await store.create_function(function(version=version))
    await store.create_function(function("other"))

    assert await store.delete_version("1", "resize", "1")
    assert not await store.delete_version("1", "resize", "1")
    assert [each.version for each in await store.all_functions()] == [
        LATEST,
        LATEST,
        "2",
    ]

    await store.delete_function("1", "resize")

    assert [each.name for each in await store.all_functions()] == ["other"]
    assert await store.code_in_use("aa")


async def test_a_number_is_remembered_longer_than_its_function(
    store: FunctionStore,
) -> None:
    assert await store.last_version("1", "resize") == 0

    for version in (LATEST, "2", "10"):
        await store.create_function(function(version=version))
    await store.create_function(function("other", version="77"))
    await store.delete_version("1", "resize", "10")
    await store.delete_function("1", "resize")
    await store.create_function(function())

    assert await store.last_version("1", "resize") == 10


async def test_a_function_takes_along_what_it_owns_of_the_kinds_named(
    store: Store,
) -> None:
    await store.create_function(function())
    for kind, owner in (("alias", "resize"), ("layer", "resize"), ("alias", "other")):
        await store.put_document(
            Document(tenant_id="1", kind=kind, owner=owner, key="k", body=b"{}")
        )

    await store.delete_function("1", "resize", kinds=("alias", "policy"))

    assert [each.owner for each in await store.all_documents("alias")] == ["other"]
    assert len(await store.all_documents("layer")) == 1
