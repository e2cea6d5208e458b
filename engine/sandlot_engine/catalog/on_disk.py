"""What tenants have on disk, counted as it changes: to add up ten thousand versions
takes as long as some hundred invocations, and tenants ask as often as they like."""

from collections import Counter
from collections.abc import Iterable, Iterator

from sandlot_engine.model.function import Code, Function, Revision

ENTRY_BYTES = 4_096
"""What a file or folder takes on disk beside its content. A file system has as many as
it was made for, and a package of 5 MB may have 50,000."""

Files = Iterable[tuple[tuple[object, ...], int]]
"""Files and folders of the code store, by what makes them the same, and their bytes."""


class OnDisk:
    """By tenant. What several things have counts once. Never waits."""

    def __init__(self) -> None:
        self._files: dict[str, dict[tuple[object, ...], tuple[int, int]]] = {}
        """How many things have a file, and its bytes."""

        self._totals: Counter[str] = Counter()

    def add(self, tenant_id: str, files: Files) -> None:
        """Of one thing; `remove` takes back the same."""
        known = self._files.setdefault(tenant_id, {})
        for file, size in files:
            uses, size = known.get(file, (0, size))
            known[file] = uses + 1, size
            if not uses:
                self._totals[tenant_id] += size

    def remove(self, tenant_id: str, files: Files) -> None:
        known = self._files[tenant_id]
        for file, _ in files:
            uses, size = known.pop(file)
            if uses > 1:
                known[file] = uses - 1, size
            else:
                self._totals[tenant_id] -= size
        if not known:
            del self._files[tenant_id], self._totals[tenant_id]

    def total(self, tenant_id: str) -> int:
        """Bytes of all that a tenant has."""
        return self._totals[tenant_id]

    def missing(self, tenant_id: str, files: Files) -> int:
        """Bytes of those that it has not."""
        known = self._files.get(tenant_id, {})
        return sum(size for file, size in dict(files).items() if file not in known)


def of_layer(code: Code) -> Iterator[tuple[tuple[object, ...], int]]:
    # Functions have layers merged; unpacked alone they are for a check and no longer.
    yield (code.sha256,), code.size
    yield (code.sha256, "layer"), code.unpacked_size


def of_function(function: Function) -> Iterator[tuple[tuple[object, ...], int]]:
    for revision in function.revisions:
        yield from of_revision(revision)


def of_revision(revision: Revision) -> Iterator[tuple[tuple[object, ...], int]]:
    code, config = revision.code, revision.config
    yield (code.sha256,), code.size
    yield (code.sha256, config.runtime), _unpacked(code)
    if config.layers:
        # Whosever the layers are: merged, they are this tenant's.
        merged = sum(_unpacked(layer.code) for layer in config.layers)
        yield (config.layer_hashes, config.runtime), merged


def _unpacked(code: Code) -> int:
    return code.unpacked_size + code.entries * ENTRY_BYTES
