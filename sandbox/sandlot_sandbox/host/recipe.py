"""What a zygote is made from, and why it may not be forked."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from sandlot_sandbox.host.extensions_api import NOBODY, Identity
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import NONE

IMPORT_S = 10.0
"""The import, as AWS Lambda limits its init phase."""


class Obstacle(Enum):
    """Why a zygote may not be forked after its import."""

    NONE = "none"
    UNSAFE = "unsafe"
    """It left behind what clones must not share."""

    FAILED = "failed"
    """The import, or a before-snapshot hook."""

    LATE = "late"
    """They took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a zygote is made from."""

    runtime: str
    limits: Limits
    owner: int = 0
    """See `spec.StartZygote`."""

    code: str
    """SHA-256 of the unpacked package, in hex."""

    opt: str = ""
    """Names the folder with the layers in the same way; empty where there are none."""

    identity: Identity = NOBODY
    settings: Mapping[str, object]
    """For the guest: handler, environment, and what the context object tells."""

    network: str = NONE
    """One of `spec.NETWORKS`."""

    as_program: bool = False
    """Whether instances of a Python are no clones: see `guest/program.py`."""

    allow: tuple[str, ...] = ()
    """Networks that an `egress` jail may reach although they are private."""

    keeps_tmp: bool = True
    """Whether an instance may have the /tmp of one that ended at work."""

    import_s: float = IMPORT_S
    """How long the import may take, with the before-snapshot hooks."""
