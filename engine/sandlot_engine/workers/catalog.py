"""What leases need of the engine's catalog, all from memory."""

from collections.abc import Callable

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.policies import Policies
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError
from sandlot_engine.invocation.admission import Admission, Claims
from sandlot_engine.model.function import Function
from sandlot_engine.workers.lessor import Place
from sandlot_engine.workers.messages import Address

MAX_USES = 10_000
"""Of a lease: after so many invocations it is asked for again."""


class CoreCatalog:
    """Satisfies `lessor.Catalog`."""

    def __init__(
        self,
        functions: Functions,
        policies: Policies,
        tenants: Tenants,
        admission: Admission,
        claims: Callable[[str], Claims],
        clock: Clock,
        check_writing: Callable[[], None],
    ) -> None:
        self._functions = functions
        self._policies = policies
        self._tenants = tenants
        self._admission = admission
        self._claims = claims
        self._clock = clock
        self._check_writing = check_writing

    def route(self, address: Address) -> Function | None:
        """None also for what is to be refused: by the core, which says why."""
        owner, name, qualifier = address.owner, address.name, address.qualifier
        alias = self._functions.aliases.find(owner, name, qualifier)
        if alias is not None and alias.weights:
            return None  # anew with each call
        try:
            self._check_writing()
            if not self._policies.may_invoke(owner, name, qualifier, address.caller):
                return None
            function = self._functions.resolve(owner, name, qualifier)
            revision = function.serving
            config = None if revision is None else revision.config
            if config is None or config.per_tenant or config.is_program:
                return None  # a program is never lent
            self._tenants.grant_network(owner, config.network)
        except SandlotError:
            return None
        return function

    def take_place(self, function: Function) -> Place:
        """Raises `Throttled`."""
        tenant_id, name = function.tenant_id, function.name
        admission = self._admission
        slot = admission.admit(
            tenant_id,
            name,
            limit=self._tenants.concurrency(tenant_id),
            reserved=self._functions.reserved(tenant_id),
            claims=self._claims(tenant_id),
            revision=function.current.id,
            now=self._clock.monotonic(),
        )
        admission.note_use(slot, -1)  # not before it is used
        uses = 1 + admission.take_ahead(slot, most=MAX_USES)

        def give_back(unused: int) -> None:
            admission.give_ahead(slot, unused)
            admission.release(slot)

        return Place(
            uses=uses, give_back=give_back, note_use=lambda: admission.note_use(slot)
        )
