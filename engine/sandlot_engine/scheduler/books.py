"""What `ClusterState` keeps count of, and how it is counted; it decides nothing."""

from collections import Counter
from collections.abc import Iterator

from sandlot_engine.scheduler.idle import Idle
from sandlot_engine.scheduler.versions import Tenant, Version


class Books:
    """Versions, tenants, instances, and who waits: each change keeps them in step. See
    `ClusterState` for the limits."""

    def __init__(
        self,
        *,
        max_instances: int,
        max_starting: int,
        max_starting_of_tenant: int,
        max_kept: int,
        max_standbys: int = 0,
        max_of_tenant: int | None = None,
    ) -> None:
        self.max_instances = max_instances
        self.max_of_tenant = max_instances if max_of_tenant is None else max_of_tenant
        self.max_kept = max_kept
        self.max_standbys = max_standbys
        self.max_starting = max_starting
        self.max_starting_of_tenant = max_starting_of_tenant
        self.versions: dict[str, Version] = {}
        # Who starts or waits; whose turn it is stands first.
        self.tenants: dict[str, Tenant] = {}
        # Instances of tenants, those that are being started included.
        self.places: Counter[str] = Counter()
        self.homes: dict[int, str] = {}
        # Used ones, and fresh ones: the oldest first.
        self.idle = Idle()
        self.fresh: dict[int, None] = {}
        # The versions of which some are kept; whose turn it is stands first.
        self.kept: dict[str, None] = {}
        # Those that may lack standbys; whose turn it is stands first.
        self.due: dict[str, None] = {}
        # What waits, and for an instance of which version.
        self.queue: dict[str, str] = {}
        self.starting = 0
        self.standbys = 0
        self.worths: dict[str, float] = {}

    def __repr__(self) -> str:
        idle = len(self.idle) + len(self.fresh)
        return (
            f"<ClusterState {idle} idle, {len(self.homes) - idle} busy,"
            f" {self.starting} starting, {self.waiting} waiting>"
        )

    @property
    def waiting(self) -> int:
        return len(self.queue)

    @property
    def is_full(self) -> bool:
        return len(self.homes) + self.starting >= self.max_instances

    # --- questions ----------------------------------------------------------------

    def kept_of(self, version: str) -> tuple[int, int]:
        """How many of a version are to live, and how many do and are initialised."""
        state = self.versions.get(version)
        return (state.kept, state.ready) if state is not None else (0, 0)

    def standbys_of(self, version: str) -> tuple[int, int]:
        """How many of a version are to stand by, and how many do."""
        state = self.versions.get(version)
        if state is None:
            return 0, 0
        spare = max(0, len(state.fresh) - state.kept_unused)
        return state.standbys, min(state.standbys, spare)

    def live_of(self, version: str) -> int:
        """How many of a version live, whatever they do."""
        state = self.versions.get(version)
        return state.live if state is not None else 0

    def surplus_of(self, version: str) -> list[int]:
        """The fresh instances that nobody has asked for (any more), oldest first."""
        state = self.versions.get(version)
        return state.fresh[: state.surplus] if state is not None else []

    def initialising_of(self, version: str) -> list[int]:
        """The instances of a version that were started ahead and cannot serve yet."""
        state = self.versions.get(version)
        return sorted(state.initialising) if state is not None else []

    def idle_of(self, version: str) -> list[int]:
        """The instances of a version that serve nobody and could, the first to go
        first."""
        state = self.versions.get(version)
        return [*state.fresh, *state.idle] if state is not None else []

    def queues_of(self, version: str) -> tuple[list[int], list[int]]:
        """The same, in two: those nobody has used, and the others; the one that has
        been idle longest first in each."""
        state = self.versions.get(version)
        return ([*state.fresh], [*state.idle]) if state is not None else ([], [])

    def waiting_of(self, version: str) -> int:
        """How many invocations wait for one of a version."""
        state = self.versions.get(version)
        return len(state.waiting) if state is not None else 0

    def has_warm(self, version: str) -> bool:
        """Whether there is one that could serve at once and would be no new one for it:
        it was used before, or is one of those that are kept."""
        state = self.versions.get(version)
        if state is None:
            return False
        return bool(state.idle or (state.fresh and state.serving < state.kept))

    def is_stalled(self, version: str) -> bool:
        """Whether one could not be started ahead since `keep` was called."""
        return version in self.kept and self.versions[version].is_stalled

    def can_spare(self, instance: int) -> bool:
        """Whether an idle one can go without another being started for it because that
        many are kept."""
        state = self.versions[self.homes[instance]]
        return state.live > state.kept

    def is_unwanted(self, instance: int) -> bool:
        """Whether one that serves nobody is more than was asked for."""
        state = self.versions[self.homes[instance]]
        if instance in self.fresh:
            return state.surplus > 0
        return state.live > state.kept

    def victims(self) -> Iterator[int]:
        """The instances that can go, the first to go first: standbys before those that
        were used. Not to be changed meanwhile."""
        yield from filter(self.can_spare, self.fresh)
        yield from filter(self.can_spare, self.idle)

    # --- changes -----------------------------------------------------------------

    def note_due(self, version: str) -> None:
        state = self.versions.get(version)
        if state is not None and state.lacking:
            self.due[version] = None

    def count_start(self, version: str) -> None:
        state = self.versions[version]
        state.starting += 1
        self.tenants[state.tenant].starting += 1
        self.places[state.tenant] += 1
        self.starting += 1

    def stop_waiting(self, invocation: str) -> None:
        version = self.versions[self.queue.pop(invocation)]
        del version.waiting[invocation]
        if invocation in version.held:
            del version.held[invocation]
        else:
            del self.tenants[version.tenant].waiting[invocation]

    def release(self, version: Version, invocation: str) -> None:
        """One that was held waits as others do."""
        del version.held[invocation]
        tenant = self.tenants.setdefault(version.tenant, Tenant())
        tenant.waiting[invocation] = None

    def forget(self, instance: int, *, had_to_go: bool = False) -> None:
        version = self.homes.pop(instance)
        state = self.versions[version]
        state.busy.discard(instance)
        state.initialising.discard(instance)
        if instance in self.idle:
            self.idle.discard(instance, had_to_go=had_to_go)
            state.idle.remove(instance)
        elif instance in self.fresh:
            del self.fresh[instance]
            state.fresh.remove(instance)
        while len(state.held) > state.serving:
            self.release(state, next(reversed(state.held)))
        self.give_up_place(state.tenant)
        self.note_due(version)
        self.drop_if_empty(version)

    def give_up_place(self, tenant: str) -> None:
        self.places[tenant] -= 1
        if not self.places[tenant]:
            del self.places[tenant]

    def drop_if_empty(self, version: str) -> None:
        state = self.versions[version]
        self.drop_if_idle(state.tenant)
        if state.is_empty:
            del self.versions[version]
            self.due.pop(version, None)
            self.worths.pop(version, None)

    def drop_if_idle(self, tenant: str) -> None:
        state = self.tenants.get(tenant)
        if state is not None and not (state.starting or state.waiting):
            del self.tenants[tenant]
