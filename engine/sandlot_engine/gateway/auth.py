"""Who is calling: from the words of a request to a `Caller`."""

from sandlot_engine.errors import (
    SUSPENDED,
    InvalidParameter,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from sandlot_engine.gateway.ports import Keys
from sandlot_engine.model.tenant import AccessKey, Caller

SCHEME = "bearer "


class Authenticator:
    """Checks keys, and lets operators speak for a tenant."""

    def __init__(self, tenants: Keys) -> None:
        self._tenants = tenants

    async def caller_of(self, authorization: str, on_behalf_of: str = "") -> Caller:
        """The caller with the credentials `Bearer ID:SECRET`.

        Raises `Unauthenticated`; `PermissionDenied` for a tenant that is suspended, and
        where somebody who is no operator speaks for one, even for its own; `NotFound`
        where an operator speaks for one that does not exist.
        """
        key_id, secret = _credentials(authorization)
        key = await self._tenants.authenticate(key_id, secret)
        _check_active(key)
        if not on_behalf_of:
            return Caller(
                tenant_id=key.tenant_id,
                access_key_id=key.id,
                is_operator=key.is_operator,
            )
        if not key.is_operator:
            raise PermissionDenied(
                "only an operator's key may choose a tenant; leave it out"
            )
        tenant_id = await self._tenants.known(on_behalf_of)
        return Caller(tenant_id=tenant_id, access_key_id=key.id, is_operator=True)

    async def check_still(self, caller: Caller) -> None:
        """Raise `Unauthenticated` or `PermissionDenied` where a key that was right once
        has been taken back since, or its tenant suspended: for calls that last."""
        key, _ = await self._tenants.signing_secret(caller.access_key_id)
        if key is None:
            raise Unauthenticated("The access key was taken back since the call began.")
        _check_active(key)


def _check_active(key: AccessKey) -> None:
    if key.is_suspended:
        raise PermissionDenied(suspended(key.tenant_id), reason=SUSPENDED)


def suspended(tenant_id: str) -> str:
    """What its keys are told, whatever they ask for."""
    return f"tenant {tenant_id} is suspended: ask the operator"


def require_operator(caller: Caller) -> None:
    """Raise `PermissionDenied` unless the caller is an operator."""
    if not caller.is_operator:
        raise PermissionDenied("this needs an operator's key")


def tenant_meant(caller: Caller, tenant_id: str) -> str:
    """The tenant that a request is about: the caller's own where it names none.

    Another tenant's is for operators. To anyone else it does not exist, whether
    it does or not: a refusal that told the two apart would be a directory.
    """
    if not tenant_id or tenant_id == caller.tenant_id or caller.is_operator:
        return tenant_id or caller.tenant_id
    raise NotFound(f"Tenant not found: {tenant_id}", kind="tenant", name=tenant_id)


def single(values: list[str], name: str) -> str:
    """The value of a header that may be there once; empty where it is not."""
    if len(values) > 1:
        raise InvalidParameter(f"{name} was sent {len(values)} times", field=name)
    return values[0] if values else ""


def _credentials(authorization: str) -> tuple[str, str]:
    if not authorization:
        raise Unauthenticated(
            "no key was sent; send the metadata 'authorization: Bearer ID:SECRET'"
        )
    key_id, colon, secret = authorization[len(SCHEME) :].strip().partition(":")
    if not authorization.lower().startswith(SCHEME) or not (
        key_id and colon and secret
    ):
        # What was sent is not repeated: it may be a secret.
        raise Unauthenticated("the authorization is not of the form 'Bearer ID:SECRET'")
    return key_id, secret
