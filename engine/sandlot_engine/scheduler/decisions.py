"""What `ClusterState` decides; the scheduler does it."""

from msgspec import Struct


class Assign(Struct, frozen=True):
    """Give an instance that is there to an invocation."""

    invocation: str
    instance: int
    is_standby: bool = False
    """Its first use, and not one of those that are kept: a start for whoever gets it,
    as if it had been made for them."""


class Start(Struct, frozen=True):
    """Start an instance for an invocation; tell by `start_ended` how it went."""

    invocation: str
    version: str


class StartAhead(Struct, frozen=True):
    """Start an instance that nobody waits for; tell by `start_ended`, as one ahead."""

    version: str


class Retire(Struct, frozen=True):
    """Destroy an idle instance."""

    instance: int


Decision = Assign | Start | StartAhead | Retire
