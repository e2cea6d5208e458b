"""Secrets that are sealed anew: all of them, and what they were before is gone."""

from pathlib import Path

from sandlot_engine.store.ports import Document
from sandlot_engine.store.sqlite import SqliteStore
from tests.fakes.stores import bytes_in
from tests.fakes.things import key, tenant

_KEYS, _SECRET = 200, 60


def _sealed(name: str) -> bytes:
    return f"the older one of {name}".encode().ljust(_SECRET)


def _anew(name: str, _: bytes) -> bytes:
    return f"the newer one of {name}".encode().ljust(_SECRET)


async def test_nothing_of_the_older_ones_is_left_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    names = [f"AKIA{number}" for number in range(_KEYS)]
    async with SqliteStore.open(path) as store:
        await store.create_tenant(tenant())
        for name in names:
            await store.create_key(key(name), _sealed(name))
            for kind in ("trigger", "policy"):
                body = _sealed(f"{kind}-{name}")
                await store.put_document(
                    Document(tenant_id="1", kind=kind, owner="f", key=name, body=body)
                )

    async with SqliteStore.open(path) as store:
        await store.reseal(key=_anew, kind="trigger", document=_anew)
        found = await store.sealed_secrets(limit=_KEYS + 1)
        triggers = await store.all_documents("trigger")
        others = await store.all_documents("policy")

    assert sorted(found) == sorted((name, _anew(name, b"")) for name in names)
    assert {one.body for one in triggers} == {_anew(name, b"") for name in names}
    assert {one.body for one in others} == {_sealed(f"policy-{n}") for n in names}
    left = bytes_in(tmp_path)
    assert b"the older one of AKIA" not in left
    assert b"the older one of trigger" not in left
