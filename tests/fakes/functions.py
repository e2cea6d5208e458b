"""Functions of the catalog, in memory."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import AlreadyExists, NotFound
from sandlot_engine.model.function import (
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    ImageSource,
    Revision,
)
from sandlot_engine.model.network import Network
from sandlot_engine.model.target import SERVICES

T = TypeVar("T")


LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def make_function(tenant_id: str, name: str, **config: Any) -> Function:
    """An active function."""
    settings: dict[str, Any] = {"handler": "app.handler", "runtime": "python3.11"}
    revision = Revision(
        id=f"revision-of-{name}",
        code=Code(sha256="00" * 32, size=10, unpacked_size=20),
        config=FunctionConfig(**(settings | config)),
    )
    return Function(
        tenant_id=tenant_id,
        name=name,
        revision_id=f"change-of-{name}",
        serving=revision,
        pending=None,
        state=FunctionState.ACTIVE,
        last_modified=LONG_AGO,
    )


class FakeFunctions:
    """Functions in a dict."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Function] = {}
        self.changes: Mapping[str, object] = {}
        self.endpoints = SERVICES
        self.shares: dict[str, int] = {}
        """Reserved concurrency by function, for every tenant."""

        self.renewed: list[str] = []
        """Tenants whose network policy was said to have changed."""

        self.forgotten: list[str] = []
        """Tenants that were said to be deleted."""

        self.versions = Versions("us-east-1")
        """The same functions, for what the catalog keeps of them."""

    def add(self, function: Function) -> Function:
        self.all[function.tenant_id, function.name] = function
        self.versions.keep(function)
        return function

    def resolve(self, tenant_id: str, name: str, qualifier: str) -> Function:
        function = self.all.get((tenant_id, name))
        if function is None or qualifier not in ("", function.version):
            raise NotFound(f"Function not found: {name}", kind="function", name=name)
        return function

    def reserved(self, tenant_id: str) -> Mapping[str, int]:
        return self.shares

    def may_recurse(self, tenant_id: str, name: str) -> bool:
        return False

    # --- what `Urls` and `Policies` need of the catalog's own ------------------------

    def find(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        return self.resolve(tenant_id, name, qualifier)

    def arn(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        end = f":{qualifier}" if qualifier else ""
        return f"arn:aws:lambda:us-east-1:{tenant_id}:function:{name}{end}"

    def revision_id(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        return self.resolve(tenant_id, name, qualifier).revision_id

    async def in_turn(self, tenant_id: str, work: Callable[[], Awaitable[T]]) -> T:
        return await work()

    async def touch(self, tenant_id: str, name: str, qualifier: str = "") -> None:
        """Nothing has a revision id that changes here."""

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        zip: bytes | ImageSource,  # noqa: A002
    ) -> Function:
        if (tenant_id, name) in self.all:
            raise AlreadyExists(f"Function already exist: {name}")
        function = make_function(tenant_id, name)
        size = len(zip) if isinstance(zip, bytes) else 0
        code = Code(sha256="ab" * 32, size=size, unpacked_size=0)
        revision = Revision(id="r1", code=code, config=config)
        return self.add(replace(function, serving=revision))

    async def update_code(
        self,
        tenant_id: str,
        name: str,
        zip: bytes | ImageSource,  # noqa: A002
        revision_id: str,
    ) -> Function:
        return self.resolve(tenant_id, name, "")

    async def update_configuration(
        self, tenant_id: str, name: str, changes: Mapping[str, object], revision_id: str
    ) -> Function:
        self.changes = changes
        return self.resolve(tenant_id, name, "")

    async def get(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        return self.resolve(tenant_id, name, qualifier)

    async def delete(self, tenant_id: str, name: str) -> None:
        self.versions.forget(self.resolve(tenant_id, name, ""))
        del self.all[tenant_id, name]

    # Nothing is published here: `tests.fakes.catalog` has the catalog itself.

    async def publish(self, tenant_id: str, name: str, **_: str | None) -> Function:
        return self.resolve(tenant_id, name, "")

    async def list_versions(
        self, tenant_id: str, name: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Function], str]:
        return [self.resolve(tenant_id, name, "")], ""

    async def delete_version(self, tenant_id: str, name: str, version: str) -> None:
        self.resolve(tenant_id, name, version)

    async def renew(self, tenant_id: str) -> None:
        self.renewed.append(tenant_id)

    def resume(self, tenant_id: str) -> None:
        """Nothing waits here."""

    async def forget(self, tenant_id: str) -> None:
        self.forgotten.append(tenant_id)

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        return Counter(
            tenant_id
            for (tenant_id, _), function in self.all.items()
            if function.current.config.network is network
        )

    def count_by_runtime(self) -> Mapping[str, int]:
        return Counter(one.current.config.runtime for one in self.all.values())

    async def list(
        self, tenant_id: str, page_size: int, page_token: str
    ) -> tuple[list[Function], str]:
        return [f for (owner, _), f in self.all.items() if owner == tenant_id], ""
