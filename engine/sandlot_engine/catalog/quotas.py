"""What one tenant may have of functions, and whether it has room for more.

Asked within the tenant's turn: between the question and what follows from the answer
nobody else may add anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import QuotaExceeded
from sandlot_engine.model.function import LATEST, Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one tenant may have."""

    functions: int = 1_000
    """MAX_FUNCTIONS_PER_TENANT."""

    versions: int = 10_000
    """Published ones, of all its functions."""

    code_bytes: int = 20 * 2**30
    """Zipped and unpacked, each package once."""


class Quotas:
    """Every tenant has the same. `layer_codes` are a tenant's layers, by hash. All that
    is checked raises `QuotaExceeded`."""

    def __init__(
        self,
        quota: Quota,
        versions: Versions,
        *,
        layer_codes: Callable[[str], dict[str, Code]],
    ) -> None:
        self.quota = quota
        self._versions = versions
        self._layer_codes = layer_codes

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
        """For one more package, or layer."""
        total = self.code_bytes(tenant_id, code)
        if total > self.quota.code_bytes:
            raise QuotaExceeded(
                f"Code storage limit exceeded: the packages of tenant {tenant_id} "
                f"would take {total} bytes, zipped and unpacked, of "
                f"{self.quota.code_bytes} allowed. Delete functions or layers, or "
                "make their packages smaller.",
                reason="CodeStorageExceeded",
                limit=self.quota.code_bytes,
            )

    def code_bytes(self, tenant_id: str, *more: Code) -> int:
        """Of a tenant's packages and layers, each once, zipped and unpacked; with some
        more, if they are given."""
        codes = {code.sha256: code for code in more} | self._layer_codes(tenant_id)
        for function in self._versions.all(tenant_id):
            # Not their layers, which count where they were published.
            codes |= {each.code.sha256: each.code for each in function.revisions}
        return sum(code.size + code.unpacked_size for code in codes.values())
