"""Small things that tenants have: one kind of them, all in memory, and on disk first.

A thing is a dataclass, its document the JSON of that. It goes by tenant, by its
owner (a function's name, or whatever it belongs to) and by a key among those of its
owner. Whoever changes things decides who may when: nothing takes turns here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec

from sandlot_engine.store.ports import Document, DocumentStore

T = TypeVar("T")


class Kept(Generic[T]):
    """All things of one kind. `load` comes first.

    Fields that a document has and the dataclass has not are left out, so that they
    may go; those that are missing have their defaults, so that there may be new ones.
    """

    def __init__(
        self,
        store: DocumentStore,
        kind: str,
        type_: type[T],
        *,
        keys_are_unique: bool = False,
    ) -> None:
        """With `keys_are_unique`, a key is given once among all of the kind, and
        `named` finds by it."""
        self.kind = kind
        self.note_change: Callable[[str], object] = lambda _: None
        """Is told whose things have changed, in the moment in which they do."""

        self._keys_are_unique = keys_are_unique
        self._by_key: dict[str, T] = {}
        self._store = store
        self._decoder = msgspec.json.Decoder(type_)
        self._things: dict[str, dict[str, dict[str, T]]] = {}
        """By tenant, owner and key."""

    def __repr__(self) -> str:
        return f"<Kept {self.kind} of {len(self._things)} tenants>"

    async def load(self) -> None:
        """Read all there are, but for those that cannot be read."""
        self._things.clear()
        self._by_key.clear()
        for document in await self._store.all_documents(self.kind):
            try:
                thing = self._decoder.decode(document.body)
            except (msgspec.MsgspecError, ValueError, TypeError) as error:
                name = f"{document.tenant_id}/{document.owner}/{document.key}"
                self._store.note_damaged(f"the {self.kind} {name}", error)
                continue
            self._add(document.tenant_id, document.owner, document.key, thing)

    def get(self, tenant_id: str, owner: str, key: str = "") -> T | None:
        """Never waits."""
        return self._things.get(tenant_id, {}).get(owner, {}).get(key)

    def named(self, key: str) -> T | None:
        """By its key alone, whosever it is. Never waits."""
        return self._by_key.get(key)

    def of(self, tenant_id: str, owner: str) -> Mapping[str, T]:
        """An owner's, by key. Never waits; it is a view, and changes with them."""
        return MappingProxyType(self._things.get(tenant_id, {}).get(owner, {}))

    def tenants(self) -> list[str]:
        """The tenants that have any."""
        return list(self._things)

    def owners(self, tenant_id: str) -> Mapping[str, Mapping[str, T]]:
        """All of a tenant's, by owner and then by key: a view as well."""
        return MappingProxyType(self._things.get(tenant_id, {}))

    async def put(self, tenant_id: str, owner: str, key: str, thing: T) -> T:
        """Add it, or replace what has that key; returns it."""
        await self._store.put_document(
            Document(
                tenant_id=tenant_id,
                kind=self.kind,
                owner=owner,
                key=key,
                body=msgspec.json.encode(thing),
            )
        )
        self._add(tenant_id, owner, key, thing)
        return thing

    async def delete(self, tenant_id: str, owner: str, key: str = "") -> bool:
        """Whether there was one."""
        found = await self._store.delete_document(tenant_id, self.kind, owner, key)
        things = self._things.get(tenant_id, {}).get(owner, {})
        things.pop(key, None)
        self._by_key.pop(key, None)
        self.note_change(tenant_id)
        if not things:
            self.forget(tenant_id, owner)
        return found

    async def delete_all(self, tenant_id: str, owner: str) -> int:
        """All of an owner; how many there were."""
        count = await self._store.delete_documents(tenant_id, self.kind, owner)
        self.forget(tenant_id, owner)
        return count

    def forget(self, tenant_id: str, owner: str) -> None:
        """After something else has deleted an owner's from the store."""
        self.note_change(tenant_id)
        owners = self._things.get(tenant_id, {})
        for key in owners.pop(owner, ()):
            self._by_key.pop(key, None)
        if not owners:
            self._things.pop(tenant_id, None)

    def _add(self, tenant_id: str, owner: str, key: str, thing: T) -> None:
        self.note_change(tenant_id)
        owners = self._things.setdefault(tenant_id, {})
        owners.setdefault(owner, {})[key] = thing
        if self._keys_are_unique:
            self._by_key[key] = thing
