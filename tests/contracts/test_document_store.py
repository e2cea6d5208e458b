"""What every `DocumentStore` promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_engine.store.ports import Document
from tests.fakes.stores import ADAPTERS, OpenStore, Store
from tests.fakes.things import tenant


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    open_store: OpenStore = request.param
    async with open_store(tmp_path) as opened:
        yield opened


def document(
    key: str = "live",
    *,
    tenant_id: str = "1",
    kind: str = "alias",
    owner: str = "resize",
    body: bytes = b"{}",
) -> Document:
    return Document(tenant_id=tenant_id, kind=kind, owner=owner, key=key, body=body)


async def test_a_document_comes_back_byte_by_byte(store: Store) -> None:
    stored = document(body=b"\x00\xff not text")
    await store.put_document(stored)

    assert await store.all_documents("alias") == [stored]


async def test_the_same_key_is_replaced(store: Store) -> None:
    await store.put_document(document(body=b"old"))
    await store.put_document(document(body=b"new"))

    assert [each.body for each in await store.all_documents("alias")] == [b"new"]


async def test_each_part_of_the_name_tells_documents_apart(store: Store) -> None:
    for each in (
        document(),
        document(tenant_id="2"),
        document(kind="policy"),
        document(owner="other"),
        document(key=""),
    ):
        await store.put_document(each)

    assert len(await store.all_documents("alias")) == 4
    assert len(await store.all_documents("policy")) == 1


async def test_a_document_is_deleted_once(store: Store) -> None:
    await store.put_document(document())
    await store.put_document(document("other"))

    assert await store.delete_document("1", "alias", "resize", "live")
    assert not await store.delete_document("1", "alias", "resize", "live")
    assert await store.all_documents("alias") == [document("other")]


async def test_all_of_an_owner_go_and_nobody_elses(store: Store) -> None:
    others = [
        document(owner="other"),
        document(kind="policy"),
        document(tenant_id="2"),
    ]
    for each in (document(), document("b"), *others):
        await store.put_document(each)

    assert await store.delete_documents("1", "alias", "resize") == 2
    left = [*await store.all_documents("alias"), *await store.all_documents("policy")]
    assert sorted(map(repr, left)) == sorted(map(repr, others))


async def test_a_tenants_documents_go_with_it(store: Store) -> None:
    await store.create_tenant(tenant())
    await store.put_document(document(tenant_id=tenant().id))
    await store.put_document(document(tenant_id="2"))

    await store.delete_tenant(tenant().id)

    assert [each.tenant_id for each in await store.all_documents("alias")] == ["2"]
