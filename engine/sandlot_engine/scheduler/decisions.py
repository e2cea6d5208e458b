"""What `ClusterState` decides; the scheduler does it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assign:
    """Give an instance that is there to an invocation."""

    invocation: str
    instance: int
    is_standby: bool = False
    """Its first use, and not one of those that are kept: a start for whoever gets it,
    as if it had been made for them."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start an instance for an invocation; tell by `start_ended` how it went."""

    invocation: str
    version: str


@dataclass(frozen=True, slots=True)
class StartAhead:
    """Start an instance that nobody waits for; tell by `start_ended`, as one ahead."""

    version: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Destroy an idle instance."""

    instance: int


Decision = Assign | Start | StartAhead | Retire
