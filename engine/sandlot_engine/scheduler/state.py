"""Who waits, runs, is idle: events in, decisions out. No clock, no loop, no I/O.

Names are strings and numbers that mean nothing here. Every method changes the state
at once and returns what has to be done about it; `check` tells whether it is sound.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Assign:
    """Give an idle instance to an invocation."""

    invocation: str
    instance: int


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


@dataclass(slots=True)
class _Version:
    tenant: str
    idle: list[int] = field(default_factory=list)
    """Newest last."""

    busy: set[int] = field(default_factory=set)
    starting: int = 0
    waiting: dict[str, None] = field(default_factory=dict)
    """Invocations in the order of their arrival."""

    kept: int = 0
    """So many instances are to live, whether or not anybody needs them."""

    initialising: set[int] = field(default_factory=set)
    """Of the busy ones, those that were started ahead and cannot serve yet."""

    is_stalled: bool = False
    """None is started ahead until `keep` is called again: one could not be."""

    @property
    def is_empty(self) -> bool:
        return not (
            self.idle or self.busy or self.starting or self.waiting or self.kept
        )

    @property
    def live(self) -> int:
        return len(self.idle) + len(self.busy)

    @property
    def ready(self) -> int:
        return self.live - len(self.initialising)

    @property
    def missing(self) -> int:
        """How many have to be started ahead, now or when there is room."""
        if self.is_stalled:
            return 0
        return max(0, self.kept - self.live - self.starting)


@dataclass(slots=True)
class _Tenant:
    starting: int = 0
    waiting: dict[str, None] = field(default_factory=dict)
    """Invocations of all its versions, in the order of their arrival."""


class ClusterState:
    """All versions on the machine. `max_instances` live at once, `max_starting` of
    them being started: more at once would only make each of them slower. A tenant
    has at most `max_starting_of_tenant` of the latter, since a start may hang; those
    with something to start take turns, and what is started ahead comes after them.
    `max_kept` instances can be kept, in all, so that others have the rest."""

    def __init__(
        self,
        *,
        max_instances: int,
        max_starting: int,
        max_starting_of_tenant: int,
        max_kept: int,
    ) -> None:
        self.max_instances = max_instances
        self.max_kept = max_kept
        self.max_starting = max_starting
        self.max_starting_of_tenant = max_starting_of_tenant
        self._versions: dict[str, _Version] = {}
        # Who starts or waits; whose turn it is stands first.
        self._tenants: dict[str, _Tenant] = {}
        self._homes: dict[int, str] = {}
        # The stalest first, over all versions.
        self._idle: dict[int, None] = {}
        # The versions of which some are kept; whose turn it is stands first.
        self._kept: dict[str, None] = {}
        # What waits, and for an instance of which version.
        self._waiting: dict[str, str] = {}
        self._starting = 0

    def __repr__(self) -> str:
        busy = len(self._homes) - len(self._idle)
        return (
            f"<ClusterState {len(self._idle)} idle, {busy} busy,"
            f" {self._starting} starting, {len(self._waiting)} waiting>"
        )

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def invocation_arrived(
        self, invocation: str, version: str, *, tenant: str
    ) -> list[Decision]:
        """Empty where it has to wait."""
        state = self._versions.setdefault(version, _Version(tenant))
        if state.idle:
            # Newest first, so that the oldest grow stale and give back their memory.
            # Taking turns would keep every one of them warm for ever.
            instance = state.idle.pop()
            del self._idle[instance]
            state.busy.add(instance)
            return [Assign(invocation, instance)]
        state.waiting[invocation] = None
        self._tenants.setdefault(tenant, _Tenant()).waiting[invocation] = None
        self._waiting[invocation] = version
        return self._start_what_can_be()

    def instance_borrowed(self, version: str) -> int | None:
        """Somebody takes an idle instance of a version, and frees it later."""
        state = self._versions.get(version)
        if state is None or not state.idle:
            return None
        instance = state.idle.pop()
        del self._idle[instance]
        state.busy.add(instance)
        return instance

    def invocation_left(self, invocation: str) -> None:
        """It gave up while it waited."""
        if invocation in self._waiting:
            version = self._waiting[invocation]
            self._stop_waiting(invocation)
            self._drop_if_empty(version)

    def start_ended(
        self, version: str, instance: int | None, *, ahead: bool = False
    ) -> list[Decision]:
        """An instance was started, and is busy with the invocation it was started
        for; or none was, and that invocation knows.

        One that was started ahead is busy with its init, and free after that; after one
        that could not be started, no other is until `keep` is called again.
        """
        state = self._versions[version]
        state.starting -= 1
        self._starting -= 1
        self._tenants[state.tenant].starting -= 1
        if instance is not None:
            state.busy.add(instance)
            self._homes[instance] = version
            if ahead:
                state.initialising.add(instance)
        elif ahead:
            state.is_stalled = True
        self._drop_if_empty(version)
        return self._start_what_can_be()

    def keep(self, version: str, count: int, *, tenant: str) -> list[Decision]:
        """From now on have `count` instances live, or as many as there is room for;
        with 0, none more than are needed. Also to try again what could not be started.
        """
        state = self._versions.setdefault(version, _Version(tenant))
        others = sum(self._versions[each].kept for each in self._kept) - state.kept
        state.kept = max(0, min(count, self.max_kept - others))
        state.is_stalled = False
        if state.kept:
            self._kept[version] = None
        else:
            self._kept.pop(version, None)
            self._drop_if_empty(version)
        return self._start_what_can_be()

    def kept_of(self, version: str) -> tuple[int, int]:
        """How many of a version are to live, and how many do and are initialised."""
        state = self._versions.get(version)
        return (state.kept, state.ready) if state is not None else (0, 0)

    def initialising_of(self, version: str) -> list[int]:
        """The instances of a version that were started ahead and cannot serve yet."""
        state = self._versions.get(version)
        return sorted(state.initialising) if state is not None else []

    def is_stalled(self, version: str) -> bool:
        """Whether one could not be started ahead since `keep` was called."""
        return version in self._kept and self._versions[version].is_stalled

    def can_spare(self, instance: int) -> bool:
        """Whether an idle one can go without another being started for it."""
        state = self._versions[self._homes[instance]]
        return state.live > state.kept

    def instance_freed(self, instance: int) -> list[Decision]:
        """It answered, or is initialised, and can serve now."""
        version = self._homes.get(instance)
        if version is None:
            return []
        state = self._versions[version]
        state.initialising.discard(instance)
        if state.waiting:
            invocation = next(iter(state.waiting))
            self._stop_waiting(invocation)
            self._drop_if_idle(state.tenant)
            return [Assign(invocation, instance)]
        state.busy.discard(instance)
        state.idle.append(instance)
        self._idle[instance] = None
        return self._start_what_can_be()

    def instance_died(self, instance: int, *, was_used: bool = True) -> list[Decision]:
        """Whatever it was doing; telling twice does no harm. After one that was started
        ahead and ended before it was used, no other is until `keep` is called."""
        if instance not in self._homes:
            return []
        if not was_used:
            self._versions[self._homes[instance]].is_stalled = True
        self._forget(instance)
        return self._start_what_can_be()

    def idle_of(self, version: str) -> list[int]:
        """The idle instances of a version, oldest first."""
        state = self._versions.get(version)
        return list(state.idle) if state is not None else []

    def check(self) -> None:
        """Raise `AssertionError` if the state contradicts itself."""
        versions = self._versions.values()
        live = sum(len(v.idle) + len(v.busy) for v in versions)
        idle = sorted(instance for v in versions for instance in v.idle)
        waiting = sorted(name for v in versions for name in v.waiting)
        _require(self._starting == sum(v.starting for v in versions), "starting")
        _require(self._starting <= self.max_starting, "too many starting")
        _require(live == len(self._homes), "live instances")
        _require(live + self._starting <= self.max_instances, "too many instances")
        _require(sorted(self._waiting) == waiting, "waiting")
        _require(sorted(self._idle) == idle, "idle")
        for name, version in self._versions.items():
            _require(not version.is_empty, "an empty version is kept")
            _require(not (version.idle and version.waiting), "waits beside an idle one")
            _require(not version.busy & set(version.idle), "busy and idle")
            _require(version.initialising <= version.busy, "initialised, and is not")
            homes = {self._homes[i] for i in (*version.idle, *version.busy)}
            _require(homes <= {name}, "an instance of two versions")
        self._check_tenants()
        self._check_kept()
        is_due = self._next_tenant() is not None or self._next_kept() is not None
        if self._starting < self.max_starting and is_due:
            _require(live + self._starting >= self.max_instances, "waits beside room")
            _require(self._victim() is None, "waits beside a victim")

    def _check_kept(self) -> None:
        kept = {name: each.kept for name, each in self._versions.items() if each.kept}
        _require(kept.keys() == self._kept.keys(), "kept versions")
        _require(sum(kept.values()) <= self.max_kept, "too many kept")

    def _check_tenants(self) -> None:
        starting, waiting = Counter[str](), Counter[str]()
        for version in self._versions.values():
            starting[version.tenant] += version.starting
            waiting[version.tenant] += len(version.waiting)
        for name, tenant in self._tenants.items():
            _require(tenant.starting or tenant.waiting, "an idle tenant is kept")
            _require(tenant.starting == starting[name], "a tenant's starts")
            _require(len(tenant.waiting) == waiting[name], "a tenant's waiting")
            _require(
                tenant.starting <= self.max_starting_of_tenant, "too many of a tenant"
            )
        _require(set(+starting) | set(+waiting) == set(self._tenants), "tenants")

    def _start_what_can_be(self) -> list[Decision]:
        decisions: list[Decision] = []
        while self._starting < self.max_starting:
            tenant = self._next_tenant()
            version = self._next_kept() if tenant is None else None
            if tenant is None and version is None:
                break
            if len(self._homes) + self._starting >= self.max_instances:
                victim = self._victim()
                if victim is None:
                    break
                self._forget(victim)
                decisions.append(Retire(victim))
            if tenant is not None:
                decisions.append(self._start(tenant))
            elif version is not None:
                decisions.append(self._start_ahead(version))
        return decisions

    def _victim(self) -> int | None:
        """The stalest idle instance that is not kept."""
        return next(filter(self.can_spare, self._idle), None)

    def _next_kept(self) -> str | None:
        """The version whose turn it is to have an instance started ahead."""
        return next(
            (
                name
                for name in self._kept
                if self._versions[name].missing
                and self._starting_of(self._versions[name].tenant)
                < self.max_starting_of_tenant
            ),
            None,
        )

    def _starting_of(self, tenant: str) -> int:
        state = self._tenants.get(tenant)
        return state.starting if state is not None else 0

    def _next_tenant(self) -> str | None:
        """Whose turn it is to start something."""
        return next(
            (
                name
                for name, tenant in self._tenants.items()
                if tenant.waiting and tenant.starting < self.max_starting_of_tenant
            ),
            None,
        )

    def _start(self, name: str) -> Start:
        # To the end of the queue, for its next turn.
        tenant = self._tenants[name] = self._tenants.pop(name)
        invocation = next(iter(tenant.waiting))
        version = self._waiting[invocation]
        self._stop_waiting(invocation)
        self._count_start(version)
        return Start(invocation, version)

    def _start_ahead(self, version: str) -> StartAhead:
        # To the end of the queue, for its next turn.
        del self._kept[version]
        self._kept[version] = None
        self._tenants.setdefault(self._versions[version].tenant, _Tenant())
        self._count_start(version)
        return StartAhead(version)

    def _count_start(self, version: str) -> None:
        state = self._versions[version]
        state.starting += 1
        self._tenants[state.tenant].starting += 1
        self._starting += 1

    def _stop_waiting(self, invocation: str) -> None:
        version = self._versions[self._waiting.pop(invocation)]
        del version.waiting[invocation]
        del self._tenants[version.tenant].waiting[invocation]

    def _forget(self, instance: int) -> None:
        version = self._homes.pop(instance)
        state = self._versions[version]
        state.busy.discard(instance)
        state.initialising.discard(instance)
        if instance in self._idle:
            del self._idle[instance]
            state.idle.remove(instance)
        self._drop_if_empty(version)

    def _drop_if_empty(self, version: str) -> None:
        state = self._versions[version]
        self._drop_if_idle(state.tenant)
        if state.is_empty:
            del self._versions[version]

    def _drop_if_idle(self, tenant: str) -> None:
        state = self._tenants.get(tenant)
        if state is not None and not (state.starting or state.waiting):
            del self._tenants[tenant]


def _require(holds: object, what: str) -> None:
    if not holds:
        raise AssertionError(what)
