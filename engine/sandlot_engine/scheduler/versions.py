"""What `ClusterState` knows of one version, and of one tenant: counts, and who is what.

An instance of a version is *used* or not. Unused are those that were started ahead and
have served nobody: first they initialise, then they are *fresh*. Some of the unused
are there because that many are *kept* alive, used or not; the others are standbys.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Version:
    """The instances and waiting invocations of one revision, and one isolation key."""

    tenant: str
    idle: list[int] = field(default_factory=list)
    """Used, and serving nobody. Newest last."""

    fresh: list[int] = field(default_factory=list)
    """Unused and initialised. Oldest first."""

    busy: set[int] = field(default_factory=set)
    """Those that serve, and those that initialise."""

    initialising: set[int] = field(default_factory=set)
    """Of the busy ones, those that were started ahead and cannot serve yet."""

    starting: int = 0
    starting_ahead: int = 0
    """Of those that are being started, those that nobody waits for."""

    waiting: dict[str, None] = field(default_factory=dict)
    """Invocations in the order of their arrival."""

    held: dict[str, None] = field(default_factory=dict)
    """Of those that wait, the ones that want an instance that serves: none is started
    for them. No more than there are that serve."""

    kept: int = 0
    """So many instances are to live, whether or not anybody needs them."""

    standbys: int = 0
    """So many unused ones are to be there beside those that are kept."""

    is_stalled: bool = False
    """None is started ahead until somebody asks again: one could not be."""

    @property
    def is_empty(self) -> bool:
        return not (
            self.idle
            or self.fresh
            or self.busy
            or self.starting
            or self.waiting
            or self.kept
            or self.standbys
        )

    @property
    def live(self) -> int:
        return len(self.idle) + len(self.fresh) + len(self.busy)

    @property
    def ready(self) -> int:
        return self.live - len(self.initialising)

    @property
    def serving(self) -> int:
        return len(self.busy) - len(self.initialising)

    @property
    def unused(self) -> int:
        """Instances that nobody has used, those that are being started ahead
        included."""
        return len(self.fresh) + len(self.initialising) + self.starting_ahead

    @property
    def used(self) -> int:
        """Instances that were used, those that are being started for somebody
        included."""
        return len(self.idle) + self.serving + self.starting - self.starting_ahead

    @property
    def kept_unused(self) -> int:
        """How many of the unused it takes for as many to live as are kept."""
        return max(0, self.kept - self.used)

    @property
    def missing(self) -> int:
        """How many have to be started ahead, now or when there is room, to have as many
        live as are kept."""
        return 0 if self.is_stalled else max(0, self.kept_unused - self.unused)

    @property
    def lacking(self) -> int:
        """How many standbys are to be started, once the kept are there."""
        if self.is_stalled:
            return 0
        return max(0, self.standbys - max(0, self.unused - self.kept_unused))

    @property
    def surplus(self) -> int:
        """How many of the fresh are more than anybody has asked for. What is being
        started may fail: until it is there, it replaces none that is kept."""
        excess = self.unused - self.kept_unused - self.standbys
        return max(0, min(excess, len(self.fresh), self.live - self.kept))


@dataclass(slots=True)
class Tenant:
    """One that starts something, or waits."""

    starting: int = 0
    waiting: dict[str, None] = field(default_factory=dict)
    """Invocations of all its versions, in the order of their arrival, without those
    that are held."""
