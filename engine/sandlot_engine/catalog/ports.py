"""What parts of the catalog need of others, and of each other."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from sandlot_engine.catalog.life import Prepared
from sandlot_engine.model.function import Code, Function, Revision, Unpacked
from sandlot_engine.model.network import Network

CheckCode = Callable[[str, str], object]
"""Raises a `Refusal` where a function, by its tenant's id and its name, takes no new
code."""

CheckRoom = Callable[[str, Code], object]
"""Raises `QuotaExceeded` where a tenant, by its id, may not have one package more."""


class Node(Protocol):
    """Where a revision's zygote and instances are."""

    async def prepare(
        self, function: Function, revision: Revision, code: Path, /
    ) -> Prepared:
        """Start the zygote of a revision, its code at a path. Raises `Refusal` or
        `Fault` where that is impossible; a failing import is no reason to."""
        ...

    async def retire(self, tenant_id: str, function: str, revision_id: str, /) -> None:
        """Stop all that runs of a revision. Returns when nothing runs of it any more,
        because its files go next. It need not have been prepared."""
        ...


class Rights(Protocol):
    """What tenants may have. From memory."""

    def concurrency(self, tenant_id: str, /) -> int:
        """How many of its invocations may run."""
        ...

    def grant_network(self, tenant_id: str, network: Network, /) -> object:
        """Raises `PermissionDenied` where its functions may not have that, and
        `Conflict` while it is suspended."""
        ...


class Packages(Protocol):
    """What layers need of `catalog.uploads.Uploads`."""

    def arrived(
        self, tenant_id: str, zip_bytes: bytes, runtime: str, *, is_layer: bool
    ) -> AbstractAsyncContextManager[Code]: ...

    async def discard_unused(self, sha256s: Iterable[str]) -> None: ...


class Images(Protocol):
    """Container images on this machine."""

    def pack(self, uri: str, into: int, /) -> str:
        """Write the image to an open file, as an archive, in a thread; the tag that it
        has in there. Raises `InvalidParameter` for what is no image that a tenant may
        have."""
        ...

    async def build(
        self, archive: int, tag: str, folder: int, /
    ) -> tuple[Unpacked, str]:
        """Make its files in an empty folder, as `Build` does; what its layers come to,
        and the SHA-256 of its manifest."""
        ...


class Build(Protocol):
    """Makes the folder that is mounted."""

    async def __call__(
        self,
        runtime: str,
        packages: Sequence[int],
        folder: int,
        *,
        is_opt: bool = False,
    ) -> Unpacked:
        """Unpack and compile for a runtime, by its name, zips into an empty folder, all
        open and not to be closed. A later zip's files are there in place of those of
        one before; `is_opt` says that they are layers, mounted at /opt.

        Returns what there is then. Afterwards, however it ends, nobody writes into
        the folder any more. Raises `InvalidParameter` for what is refused, `OSError`
        where there is no room, a `Fault` where our side broke otherwise.
        """
        ...
