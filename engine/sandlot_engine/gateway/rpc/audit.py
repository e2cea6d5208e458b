"""What operators change, told in the log: who, what, whose.

Of tenants nothing is told: they may change things as often as they like.
"""

import logging
from typing import Any

from sandlot_engine.gateway.rpc.methods import SERVICES
from sandlot_engine.model.tenant import Caller

_READS = ("Get", "List", "Tail", "Invoke", "Test")
"""How methods begin that change nothing, or run functions, which records tell."""

_SHOWN = ("id", "tenant_id", "access_key_id", "function", "name", "qualifier", "alias")
"""Fields that say what it is about; never a secret or a setting's value."""

_FLAGS = ("suspended", "operator")
"""What is made of a tenant or a key by them is another thing altogether."""

_MOST = 80
"""Characters of one."""

_log = logging.getLogger("sandlot.audit")


def changes_something(path: str) -> bool:
    """Whether it is a method of ours that is told of."""
    service, _, method = path.rpartition("/")
    return service.startswith(SERVICES) and not method.startswith(_READS)


def about(request: Any) -> str:
    """What a request names; nothing for one that a worker forwards: the core tells."""
    if isinstance(request, bytes):
        return ""
    said = [
        f"{field}={value[:_MOST]}"
        for field in _SHOWN
        if isinstance(value := getattr(request, field, ""), str) and value
    ]
    said += [
        f"{flag}={str(getattr(request, flag)).lower()}"
        for flag in _FLAGS
        if _is_given(request, flag)
    ]
    return " ".join(said) or "-"


def _is_given(request: Any, flag: str) -> bool:
    field = request.DESCRIPTOR.fields_by_name.get(flag)
    if field is None:
        return False
    return bool(
        request.HasField(flag) if field.has_presence else getattr(request, flag)
    )


def tell(path: str, caller: Caller, about: str, *, request_id: str) -> None:
    """Of a call that was answered."""
    _log.info(
        "%s by %s for tenant %s: %s (request %s)",
        path.rpartition("/")[2],
        caller.access_key_id,
        caller.tenant_id,
        about,
        request_id,
    )
