"""What one tenant may have of functions, and whether it has room for more.

Asked within the tenant's turn: between the question and what follows from the answer
nobody else may add anything.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import QuotaExceeded
from sandlot_engine.model.function import LATEST, Code, Revision

ENTRY_BYTES = 4_096
"""What a file or folder takes on disk beside its content. A file system has as many as
it was made for, and a package of 5 MB may have 50,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one tenant may have."""

    functions: int = 1_000
    """MAX_FUNCTIONS_PER_TENANT."""

    versions: int = 10_000
    """Published ones, of all its functions."""

    code_bytes: int = 20 * 2**30
    """Zipped; and unpacked, for each runtime that it is used with. The layers of a
    function are merged, for each order and runtime, and count so."""


class Quotas:
    """Every tenant has the same. `layer_codes` are a tenant's layers, by hash, and
    `leaving` its revisions that are not gone yet. All that is checked raises
    `QuotaExceeded`."""

    def __init__(
        self,
        quota: Quota,
        versions: Versions,
        *,
        layer_codes: Callable[[str], dict[str, Code]],
        leaving: Callable[[str], Iterable[Revision]],
    ) -> None:
        self.quota = quota
        self._versions = versions
        self._layer_codes = layer_codes
        self._leaving = leaving

    def check_can_create(self, tenant_id: str) -> None:
        """One more function."""
        count = self._versions.count(tenant_id)
        if count >= self.quota.functions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} functions of "
                f"{self.quota.functions} allowed. Delete one first.",
                limit=self.quota.functions,
            )

    def check_can_publish(self, tenant_id: str) -> None:
        """One more version."""
        count = sum(each.version != LATEST for each in self._versions.all(tenant_id))
        if count >= self.quota.versions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} published versions of "
                f"{self.quota.versions} allowed. Delete some first.",
                limit=self.quota.versions,
            )

    def check_room(self, tenant_id: str, code: Code) -> None:
        """For one more layer."""
        self._check_room(tenant_id, dict(_of_layer(code)))

    def check_room_for(self, tenant_id: str, revision: Revision) -> None:
        """For what a revision has on disk."""
        self._check_room(tenant_id, dict(_of_revision(revision)))

    def code_bytes(self, tenant_id: str) -> int:
        """Of a tenant's packages and layers: see `Quota.code_bytes`."""
        return sum(self._on_disk(tenant_id).values())

    def _check_room(self, tenant_id: str, more: "_OnDisk") -> None:
        before = self._on_disk(tenant_id)
        total = sum((before | more).values())
        # What takes nothing more is no worse for somebody who has too much already.
        if total > self.quota.code_bytes and total > sum(before.values()):
            raise QuotaExceeded(
                f"Code storage limit exceeded: the packages of tenant {tenant_id} "
                f"would take {total} bytes, zipped and unpacked, of "
                f"{self.quota.code_bytes} allowed. Delete functions or layers, or "
                "make their packages smaller.",
                reason="CodeStorageExceeded",
                limit=self.quota.code_bytes,
            )

    def _on_disk(self, tenant_id: str) -> "_OnDisk":
        found: _OnDisk = {}
        for code in self._layer_codes(tenant_id).values():
            found |= _of_layer(code)
        for revision in self._leaving(tenant_id):
            found |= _of_revision(revision)
        for function in self._versions.all(tenant_id):
            for revision in function.revisions:
                found |= _of_revision(revision)
        return found


_OnDisk = dict[tuple[object, ...], int]
"""Files and folders of the code store, by what makes them the same, and their bytes."""


def _of_layer(code: Code) -> Iterator[tuple[tuple[object, ...], int]]:
    # Functions have layers merged; unpacked alone they are for a check and no longer.
    yield (code.sha256,), code.size
    yield (code.sha256, "layer"), code.unpacked_size


def _of_revision(revision: Revision) -> Iterator[tuple[tuple[object, ...], int]]:
    code, config = revision.code, revision.config
    yield (code.sha256,), code.size
    yield (code.sha256, config.runtime), _unpacked(code)
    if config.layers:
        # Whosever the layers are: merged, they are this tenant's.
        merged = sum(_unpacked(layer.code) for layer in config.layers)
        yield (config.layer_hashes, config.runtime), merged


def _unpacked(code: Code) -> int:
    return code.unpacked_size + code.entries * ENTRY_BYTES
