"""Code signing configs, and how a function's runtime is updated."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Untrusted(StrEnum):
    """What is done with code that nobody who is trusted has signed."""

    WARN = "Warn"
    ENFORCE = "Enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningConfig:
    """Whose signatures functions want. Signatures are not looked at here: `WARN` lets
    all code in, and `ENFORCE` none."""

    tenant_id: str
    id: str
    """`csc-` and 17 letters or digits."""

    publishers: tuple[str, ...]
    """ARNs of signing profiles' versions."""

    untrusted: Untrusted = Untrusted.WARN
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    last_modified: datetime
    """UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A function's config, by its id."""

    config: str


class UpdateRuntimeOn(StrEnum):
    """AWS's ways to have newer runtimes; here they are the machine's, and none of these
    changes them."""

    AUTO = "Auto"
    FUNCTION_UPDATE = "FunctionUpdate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeManagement:
    """How the runtime of a function, or of a version of it, is to be updated: kept and
    shown, and no more."""

    update_on: UpdateRuntimeOn = UpdateRuntimeOn.AUTO
