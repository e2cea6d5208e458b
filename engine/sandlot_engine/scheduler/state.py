"""Who waits, runs, is idle: events in, decisions out. No clock, no loop, no I/O.

Names are strings and numbers that mean nothing here. Every method changes the state
at once and returns what has to be done about it; `check` tells whether it is sound.
"""

from collections import deque
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
class Retire:
    """Destroy an idle instance."""

    instance: int


Decision = Assign | Start | Retire


@dataclass(slots=True)
class _Version:
    idle: list[int] = field(default_factory=list)
    """Newest last."""

    busy: set[int] = field(default_factory=set)
    starting: int = 0
    waiting: deque[str] = field(default_factory=deque)

    @property
    def is_empty(self) -> bool:
        return not (self.idle or self.busy or self.starting or self.waiting)


class ClusterState:
    """All versions on the machine. `max_instances` live at once, `max_starting` of
    them being started: more at once would only make each of them slower."""

    def __init__(self, *, max_instances: int, max_starting: int) -> None:
        self._max_instances = max_instances
        self._max_starting = max_starting
        self._versions: dict[str, _Version] = {}
        self._homes: dict[int, str] = {}
        # Insertion order is arrival order, over all versions.
        self._waiting: dict[str, str] = {}
        self._starting = 0

    def __repr__(self) -> str:
        idle = sum(len(v.idle) for v in self._versions.values())
        busy = sum(len(v.busy) for v in self._versions.values())
        waiting = len(self._waiting)
        return (
            f"<ClusterState {idle} idle, {busy} busy, {self._starting} starting,"
            f" {waiting} waiting>"
        )

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def invocation_arrived(self, invocation: str, version: str) -> list[Decision]:
        """Empty where it has to wait."""
        state = self._versions.setdefault(version, _Version())
        if state.idle:
            # Newest first, so that the oldest grow stale and give back their memory.
            # Taking turns would keep every one of them warm for ever.
            instance = state.idle.pop()
            state.busy.add(instance)
            return [Assign(invocation, instance)]
        state.waiting.append(invocation)
        self._waiting[invocation] = version
        return self._start_what_can_be()

    def invocation_left(self, invocation: str) -> None:
        """It gave up while it waited."""
        version = self._waiting.pop(invocation, None)
        if version is not None:
            self._versions[version].waiting.remove(invocation)
            self._drop_if_empty(version)

    def start_ended(self, version: str, instance: int | None) -> list[Decision]:
        """An instance was started, and is busy with the invocation it was started
        for; or none was, and that invocation knows."""
        state = self._versions[version]
        state.starting -= 1
        self._starting -= 1
        if instance is not None:
            state.busy.add(instance)
            self._homes[instance] = version
        self._drop_if_empty(version)
        return self._start_what_can_be()

    def instance_freed(self, instance: int) -> list[Decision]:
        """It answered, and can serve again."""
        version = self._homes.get(instance)
        if version is None:
            return []
        state = self._versions[version]
        if state.waiting:
            invocation = state.waiting.popleft()
            del self._waiting[invocation]
            return [Assign(invocation, instance)]
        state.busy.discard(instance)
        state.idle.append(instance)
        return self._start_what_can_be()

    def instance_died(self, instance: int) -> list[Decision]:
        """Whatever it was doing; telling twice does no harm."""
        version = self._homes.pop(instance, None)
        if version is None:
            return []
        state = self._versions[version]
        state.busy.discard(instance)
        if instance in state.idle:
            state.idle.remove(instance)
        self._drop_if_empty(version)
        return self._start_what_can_be()

    def idle_of(self, version: str) -> list[int]:
        """The idle instances of a version, oldest first."""
        state = self._versions.get(version)
        return list(state.idle) if state is not None else []

    def check(self) -> None:
        """Raise `AssertionError` if the state contradicts itself."""
        versions = self._versions.values()
        live = sum(len(v.idle) + len(v.busy) for v in versions)
        waiting = sorted(name for v in versions for name in v.waiting)
        _require(self._starting == sum(v.starting for v in versions), "starting")
        _require(self._starting <= self._max_starting, "too many starting")
        _require(live == len(self._homes), "live instances")
        _require(live + self._starting <= self._max_instances, "too many instances")
        _require(sorted(self._waiting) == waiting, "waiting")
        for name, version in self._versions.items():
            _require(not version.is_empty, "an empty version is kept")
            _require(not (version.idle and version.waiting), "waits beside an idle one")
            _require(not version.busy & set(version.idle), "busy and idle")
            homes = {self._homes[i] for i in (*version.idle, *version.busy)}
            _require(homes <= {name}, "an instance of two versions")
        if self._waiting and self._starting < self._max_starting:
            _require(live + self._starting >= self._max_instances, "waits beside room")
            _require(not any(v.idle for v in versions), "waits beside a victim")

    def _start_what_can_be(self) -> list[Decision]:
        decisions: list[Decision] = []
        while self._waiting and self._starting < self._max_starting:
            if len(self._homes) + self._starting >= self._max_instances:
                victim = self._stalest_idle()
                if victim is None:
                    break
                decisions.append(Retire(victim))
            invocation, version = next(iter(self._waiting.items()))
            del self._waiting[invocation]
            state = self._versions[version]
            state.waiting.remove(invocation)
            state.starting += 1
            self._starting += 1
            decisions.append(Start(invocation, version))
        return decisions

    def _stalest_idle(self) -> int | None:
        for version in list(self._versions):
            state = self._versions[version]
            if state.idle:
                instance = state.idle.pop(0)
                del self._homes[instance]
                self._drop_if_empty(version)
                return instance
        return None

    def _drop_if_empty(self, version: str) -> None:
        if self._versions[version].is_empty:
            del self._versions[version]


def _require(holds: object, what: str) -> None:
    if not holds:
        raise AssertionError(what)
