"""What one tenant may have of functions, and whether it has room for more.

Asked within the tenant's turn: between the question and what follows from the answer
nobody else may add anything.
"""

from dataclasses import dataclass

from sandlot_engine.catalog.on_disk import Files, OnDisk, of_layer, of_revision
from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import QuotaExceeded
from sandlot_engine.model.function import Code, Revision


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
    """Every tenant has the same. All that is checked raises `QuotaExceeded`."""

    def __init__(self, quota: Quota, versions: Versions, on_disk: OnDisk) -> None:
        self.quota = quota
        self._versions = versions
        self._on_disk = on_disk

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
        count = self._versions.count_published(tenant_id)
        if count >= self.quota.versions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} published versions of "
                f"{self.quota.versions} allowed. Delete some first.",
                limit=self.quota.versions,
            )

    def check_room(self, tenant_id: str, code: Code) -> None:
        """For one more layer."""
        self._check_room(tenant_id, of_layer(code))

    def check_room_for(self, tenant_id: str, revision: Revision) -> None:
        """For what a revision has on disk."""
        self._check_room(tenant_id, of_revision(revision))

    def code_bytes(self, tenant_id: str) -> int:
        """Of a tenant's packages and layers: see `Quota.code_bytes`."""
        return self._on_disk.total(tenant_id)

    def _check_room(self, tenant_id: str, files: Files) -> None:
        missing = self._on_disk.missing(tenant_id, files)
        total = self._on_disk.total(tenant_id) + missing
        # What takes nothing more is no worse for somebody who has too much already.
        if missing and total > self.quota.code_bytes:
            raise QuotaExceeded(
                f"Code storage limit exceeded: the packages of tenant {tenant_id} "
                f"would take {total} bytes, zipped and unpacked, of "
                f"{self.quota.code_bytes} allowed. Delete functions or layers, or "
                "make their packages smaller.",
                reason="CodeStorageExceeded",
                limit=self.quota.code_bytes,
            )
