"""All versions of all functions, in memory: found, counted, named, put in order."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from sandlot_engine.catalog.on_disk import OnDisk, of_function
from sandlot_engine.catalog.pages import size_of
from sandlot_engine.errors import Conflict, NotFound
from sandlot_engine.model.function import (
    LATEST,
    Function,
    FunctionState,
    UpdateStatus,
    function_arn,
)
from sandlot_engine.model.network import Network

NOT_NOW = "The operation cannot be performed at this time. "


class Versions:
    """An index; whoever changes it has told the store before. Never waits."""

    def __init__(self, region: str, on_disk: OnDisk | None = None) -> None:
        self._region = region
        self._on_disk = on_disk or OnDisk()
        self._by_tenant: dict[str, dict[str, dict[str, Function]]] = {}
        """By tenant, name and version."""

        self._names: dict[str, list[str]] = {}
        """By tenant, in order; of those who were asked for since they changed."""

        self._networks: dict[str, Mapping[Network, int]] = {}
        """How many functions have which, likewise."""

        self._by_network: dict[Network, Mapping[str, int]] = {}
        """What was counted since the last change of anybody's."""

    def __repr__(self) -> str:
        return f"<Versions of {len(self._by_tenant)} tenants>"

    def find(self, tenant_id: str, name: str, version: str = LATEST) -> Function | None:
        return self._by_tenant.get(tenant_id, {}).get(name, {}).get(version)

    def require(
        self, tenant_id: str, name: str, version: str = LATEST, *, said: str = ""
    ) -> Function:
        """Raises `NotFound`, which names it with the qualifier that was `said`."""
        function = self.find(tenant_id, name, version)
        if function is None:
            raise self.not_found(tenant_id, name, said)
        return function

    def of(self, tenant_id: str, name: str) -> list[Function]:
        """One function's: `$LATEST` first, then by number."""
        versions = self._by_tenant.get(tenant_id, {}).get(name, {})
        return sorted(versions.values(), key=number_of)

    def last_published(self, tenant_id: str, name: str) -> Function | None:
        """The one with the highest number, of those there are."""
        versions = self._by_tenant.get(tenant_id, {}).get(name, {}).values()
        last = max(versions, key=number_of, default=None)
        return None if last is None or last.version == LATEST else last

    def names(self, tenant_id: str) -> list[str]:
        """In order. They are not to be changed."""
        names = self._names.get(tenant_id)
        if names is None:
            names = sorted(self._by_tenant.get(tenant_id, {}))
            if names:
                self._names[tenant_id] = names
        return names

    def all(self, tenant_id: str, *, since: str = "") -> Iterator[Function]:
        """A tenant's, by name, each as `of` has them; from a name on."""
        names = self.names(tenant_id)
        for place in range(bisect_left(names, since), len(names)):
            yield from self.of(tenant_id, names[place])

    def tenants(self) -> list[str]:
        """The tenants that have a function."""
        return list(self._by_tenant)

    def count(self, tenant_id: str) -> int:
        """How many functions a tenant has."""
        return len(self._by_tenant.get(tenant_id, {}))

    def count_all(self) -> int:
        """How many functions all have."""
        return sum(map(len, self._by_tenant.values()))

    def count_published(self, tenant_id: str) -> int:
        """How many versions that have a number."""
        functions = self._by_tenant.get(tenant_id, {}).values()
        return sum(len(versions) - (LATEST in versions) for versions in functions)

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        """See `Functions.count_by_network`. Counted again only of those who changed
        something, for strangers ask as often as they like."""
        counted = self._by_network.get(network)
        if counted is None:
            counts = {
                who: self._networks_of(who).get(network, 0) for who in self.tenants()
            }
            counted = self._by_network[network] = MappingProxyType(
                {who: count for who, count in counts.items() if count}
            )
        return counted

    def _networks_of(self, tenant_id: str) -> Mapping[Network, int]:
        counted = self._networks.get(tenant_id)
        if counted is None:
            counted = self._networks[tenant_id] = Counter(
                network
                for _, network in {
                    (function.name, function.current.config.network)
                    for function in self.all(tenant_id)
                }
            )
        return counted

    def count_by_runtime(self) -> Mapping[str, int]:
        """See `Functions.count_by_runtime`."""
        return Counter(
            runtime
            for tenant_id in self.tenants()
            for _, runtime in {
                (function.name, function.current.config.runtime)
                for function in self.all(tenant_id)
            }
        )

    def keep(self, function: Function) -> None:
        """Add a version, or replace it."""
        self._by_network.clear()
        self._networks.pop(function.tenant_id, None)
        functions = self._by_tenant.setdefault(function.tenant_id, {})
        if function.name not in functions:
            self._names.pop(function.tenant_id, None)
        versions = functions.setdefault(function.name, {})
        replaced = versions.get(function.version)
        versions[function.version] = function
        self._on_disk.add(function.tenant_id, of_function(function))
        if replaced is not None:
            self._on_disk.remove(function.tenant_id, of_function(replaced))

    def forget(self, function: Function) -> None:
        """One version that is gone; with the last one its function."""
        self._by_network.clear()
        self._networks.pop(function.tenant_id, None)
        functions = self._by_tenant[function.tenant_id]
        versions = functions[function.name]
        gone = versions.pop(function.version)
        self._on_disk.remove(function.tenant_id, of_function(gone))
        if not versions:
            del functions[function.name]
            self._names.pop(function.tenant_id, None)
        if not functions:
            del self._by_tenant[function.tenant_id]

    def arn(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        return function_arn(self._region, tenant_id, name, qualifier)

    def not_found(self, tenant_id: str, name: str, qualifier: str = "") -> NotFound:
        arn = self.arn(tenant_id, name, qualifier)
        return NotFound(f"Function not found: {arn}", kind="function", name=name)

    def check_settled(self, function: Function) -> None:
        """Raise `Conflict` while it is being made ready or changed, and where it could
        not be made ready."""
        if function.serving is None:
            raise wrong_state(function)
        self.check_not_updating(function)

    def check_not_updating(self, function: Function) -> None:
        """Raise `Conflict` while a change of it has not settled."""
        if function.update_status is UpdateStatus.IN_PROGRESS:
            arn = self.arn(function.tenant_id, function.name)
            raise Conflict(
                f"{NOT_NOW}An update is in progress for resource: {arn}",
                reason="ResourceConflict",
            )


def number_of(function: Function) -> int:
    """Of a published version; 0 is `$LATEST`."""
    return 0 if function.version == LATEST else int(function.version)


def page_of_versions(
    functions: Iterable[Function], page_size: int, page_token: str
) -> tuple[list[Function], str]:
    """Of versions in order, of which no more are looked at than needed. The token says
    the last one shown, by name and number, so that tokens are in the same order."""
    size = size_of(page_size)
    left = (function for function in functions if _token(function) > page_token)
    page = list(islice(left, size + 1))
    return page[:size], _token(page[size - 1]) if len(page) > size else ""


def name_in(page_token: str) -> str:
    """Of the function that was shown last."""
    return page_token.partition(" ")[0]


def _token(function: Function) -> str:
    # A name has no character that is less than a hyphen, as a space is.
    return f"{function.name} {number_of(function):012}"


def check_revision_id(
    expected: str, actual: str, *, shown_by: str = "GetFunction/GetAlias"
) -> None:
    """Raise `Conflict` where a caller expects another one; empty expects nothing."""
    if expected and expected != actual:
        raise Conflict(
            "The Revision Id provided does not match the latest Revision Id. Call "
            f"the {shown_by} API to retrieve the latest Revision Id",
            reason="PreconditionFailed",
        )


def wrong_state(function: Function) -> Conflict:
    """For what is done with functions that are ready."""
    if function.has_snapshot and function.state is FunctionState.PENDING:
        return Conflict(
            "Lambda is initializing your function. It will be ready to invoke once your"
            " function state becomes ACTIVE.",
            reason="SnapStartNotReadyException",
        )
    message = (
        f"{NOT_NOW}The function is currently in the following state: {function.state}"
    )
    if function.state is FunctionState.FAILED:
        message += f". {function.state_reason} Delete the function and create it again."
    return Conflict(message, reason="ResourceConflict")
