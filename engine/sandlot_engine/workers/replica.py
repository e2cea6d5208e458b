"""What a worker knows of the core's catalog: what it was told, for as long as it is so.

Keys and routes are asked for when they are first needed, and forgotten when the epoch
of a tenant that they depend on has changed. What is not known here is not refused
here: `NotHere` sends the request on to the core.
"""

import asyncio
import hashlib
import hmac
import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from sandlot_engine.errors import NotFound, Throttled, Unauthenticated, Unavailable
from sandlot_engine.model.function import Function
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import AccessKey
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import Epochs
from sandlot_engine.workers.messages import Address

MAX_KEYS = 10_000
MAX_ROUTES = 10_000
"""Kept at hand; the one used least recently goes first."""

MAX_KEY_ID = 128
"""Characters. What is longer is no key's id, and nobody is asked about it twice."""

ASK_S = 10.0
"""How long an answer of the core's is waited for."""

MAX_ASKED = 4_096
"""Answers that are waited for at once. Each is a word to the core, which is taken for
dead where too many are not read (`Mail`): strangers with as many keys as connections
are not to decide that."""

K = TypeVar("K")
T = TypeVar("T")


class NotHere(Exception):
    """This cannot be done without the core. `want` is what would have been needed."""

    def __init__(self, want: Address | None = None) -> None:
        super().__init__("not here")
        self.want = want


class Replica:
    """Satisfies what the gateways and the invoker need of tenants, functions and
    policies, as far as a worker has it."""

    def __init__(
        self, epochs: Epochs, tell: Callable[[messages.FromWorker], None]
    ) -> None:
        self._epochs = epochs
        self._tell = tell
        self._keys: OrderedDict[str, tuple[AccessKey, str, int]] = OrderedDict()
        self._routes: OrderedDict[Address, messages.Route] = OrderedDict()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[messages.Key | messages.Tenant]] = {}

    def __repr__(self) -> str:
        return f"<Replica {len(self._keys)} keys, {len(self._routes)} routes>"

    def hear(self, message: messages.Key | messages.Tenant | messages.Route) -> None:
        """What the core says."""
        if isinstance(message, messages.Route):
            _keep(self._routes, message.address, message, MAX_ROUTES)
        elif (asked := self._asked.get(message.number)) and not asked.done():
            asked.set_result(message)

    # --- keys -----------------------------------------------------------------------

    async def signing_secret(self, access_key_id: str) -> tuple[AccessKey | None, str]:
        """See `gateway.ports.Tenants`."""
        known = self._keys.get(access_key_id)
        if known is not None:
            key, secret, epoch = known
            if self._epochs.of(key.tenant_id) == epoch:
                self._keys.move_to_end(access_key_id)
                return key, secret
            del self._keys[access_key_id]
        number = next(self._numbers)
        # What is no key's id may be long: the core only has to say no.
        asked = messages.AskKey(number, access_key_id[: MAX_KEY_ID + 1])
        answer = await self._ask(number, asked)
        assert isinstance(answer, messages.Key)  # noqa: S101
        if answer.key is not None:
            _keep(
                self._keys,
                access_key_id,
                (answer.key, answer.secret, answer.epoch),
                MAX_KEYS,
            )
        return answer.key, answer.secret

    async def authenticate(self, access_key_id: str, secret: str) -> AccessKey:
        """See `gateway.ports.Tenants`; the same words and the same work."""
        key, right = await self.signing_secret(access_key_id)
        is_right = hmac.compare_digest(_digest(right), _digest(secret))
        if key is None or not is_right:
            raise Unauthenticated(
                "The access key id or its secret is wrong. Check the credentials, or "
                "ask the operator for a new key."
            )
        return key

    async def known(self, tenant_id: str) -> str:
        """See `gateway.ports.BearerKeys`."""
        number = next(self._numbers)
        answer = await self._ask(number, messages.AskTenant(number, tenant_id[:64]))
        if not (isinstance(answer, messages.Tenant) and answer.is_known):
            raise NotFound(
                f"There is no tenant {tenant_id!r}.", kind="tenant", name=tenant_id
            )
        return tenant_id

    async def _ask(
        self, number: int, question: messages.FromWorker
    ) -> messages.Key | messages.Tenant:
        if len(self._asked) >= MAX_ASKED:
            raise Throttled(
                f"{MAX_ASKED} keys are being looked up. Send it again later",
                reason="TooManyRequests",
                limit=MAX_ASKED,
                retry_after_s=1.0,
            )
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._tell(question)
            async with asyncio.timeout(ASK_S):
                return await self._asked[number]
        except TimeoutError:
            raise Unavailable("the engine's core does not answer") from None
        finally:
            del self._asked[number]

    # --- routes ---------------------------------------------------------------------

    def route(self, address: Address) -> Function:
        """Where an address leads to. Raises `NotHere`."""
        known = self._routes.get(address)
        if known is not None:
            if (
                self._epochs.of(address.owner) == known.owner_epoch
                and self._epochs.of(address.caller) == known.caller_epoch
            ):
                return known.function
            del self._routes[address]
        raise NotHere(address)

    def resolve(self, tenant_id: str, name: str, qualifier: str) -> Function:
        """See `invocation.invoker.Resolver`."""
        return self.route(Address(tenant_id, tenant_id, name, qualifier))

    def may_invoke(
        self, owner_tenant: str, function: str, qualifier: str, caller_tenant: str
    ) -> bool:
        """See `catalog.policies.Policies`: whom it is refused, the core tells so."""
        self.route(Address(caller_tenant, owner_tenant, function, qualifier))
        return True

    def reserved(self, _: str) -> Mapping[str, int]:
        """Nothing: what is lent has its place already, here and below."""
        return {}

    def may_recurse(self, _: str, __: str) -> bool:
        """Only the core knows, and few ask."""
        raise NotHere

    def concurrency(self, _: str) -> int:
        return sys.maxsize

    def grant_network(self, _: str, __: Network) -> object:
        """The core has looked, and its tenant's epoch changes with that."""
        return ()

    def is_current(self, tenant_id: str, epoch: int) -> bool:
        return self._epochs.of(tenant_id) == epoch


def _keep(known: OrderedDict[K, T], name: K, thing: T, most: int) -> None:
    known[name] = thing
    known.move_to_end(name)
    if len(known) > most:
        known.popitem(last=False)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
