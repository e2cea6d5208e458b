"""What leases need of the engine's catalog, all from memory."""

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.policies import Policies
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.errors import SandlotError
from sandlot_engine.invocation.admission import Admission
from sandlot_engine.model.function import Function
from sandlot_engine.workers.messages import Address


class CoreCatalog:
    """Satisfies `lessor.Catalog`."""

    def __init__(
        self, functions: Functions, policies: Policies, tenants: Tenants
    ) -> None:
        self._functions = functions
        self._policies = policies
        self._tenants = tenants

    def route(self, address: Address) -> Function | None:
        """None also for what is to be refused: by the core, which says why."""
        owner, name, qualifier = address.owner, address.name, address.qualifier
        alias = self._functions.aliases.find(owner, name, qualifier)
        if alias is not None and alias.weights:
            return None  # anew with each call
        try:
            if not self._policies.may_invoke(owner, name, qualifier, address.caller):
                return None
            function = self._functions.resolve(owner, name, qualifier)
            revision = function.serving
            if revision is None or revision.config.per_tenant:
                return None
            self._tenants.grant_network(owner, revision.config.network)
        except SandlotError:
            return None
        return function

    def admit(self, admission: Admission, function: Function) -> None:
        """Raises `Throttled`."""
        admission.admit(
            function.tenant_id,
            function.name,
            limit=self._tenants.concurrency(function.tenant_id),
            reserved=self._functions.reserved(function.tenant_id),
        )
