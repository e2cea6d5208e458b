"""Which revisions have instances standing by, and how many: as their history says.

A standby is forked, jailed, initialised and has its pages before anybody asks for it.
They are for revisions that have answered lately, or are expected to be asked again;
they are started one after the other, a moment after they were needed, while nobody
waits for anything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.network import Network
from sandlot_engine.scheduler.decisions import Decision
from sandlot_engine.scheduler.history import History
from sandlot_engine.scheduler.state import ClusterState

MAX_KNOWN = 4_096
"""Revisions whose history is kept; the one that was used least recently is forgotten.
"""

MAX_WITH_EGRESS = 32
"""Standbys with a way out, one for a revision: each takes one of the 256 that a machine
has, and a start that finds none fails."""


def ids_of(function: Function) -> dict[str, str]:
    """For the operator's log."""
    return {"tenant_id": function.tenant_id, "function": function.name}


@dataclass(frozen=True, slots=True)
class Known:
    """A revision that was used."""

    function: Function
    revision: Revision
    history: History


class Standbys:
    """The standbys of all revisions. `keep_s`: how long after its last use a revision
    has some, where its history does not tell."""

    def __init__(
        self,
        state: ClusterState,
        *,
        act: Callable[[list[Decision]], None],
        retire: Callable[[list[int]], None],
        keep_s: float,
        max_known: int = MAX_KNOWN,
    ) -> None:
        self._state = state
        self._act = act
        self._retire = retire
        self._keep_s = keep_s
        self._max_known = max_known
        self.taken = 0
        """Invocations that were given one, so far."""

        # By revision; the one that was used least recently first.
        self._known: dict[str, Known] = {}
        # Those that have some, in the same order.
        self._granted: dict[str, None] = {}
        self._with_egress: set[str] = set()

    def __repr__(self) -> str:
        return f"<Standbys of {len(self._granted)} of {len(self._known)} revisions>"

    @property
    def there(self) -> int:
        """How many stand by now."""
        return sum(self._state.standbys_of(each)[1] for each in self._granted)

    def find(self, revision: str) -> Known | None:
        return self._known.get(revision)

    def away(self, now: float) -> frozenset[str]:
        """Revisions that will be back, and of which nothing is needed until then."""
        known = self._known.items()
        return frozenset(each for each, one in known if one.history.is_away(now))

    def __iter__(self) -> Iterator[Known]:
        return iter(tuple(self._known.values()))

    def note_arrival(
        self, function: Function, revision: Revision, now: float
    ) -> History:
        """Somebody wants the revision. Tell its history how that ends."""
        known = self._known.pop(revision.id, None)
        if known is None:
            known = Known(function, revision, History(now))
            self._forget_some()
        self._known[revision.id] = known
        if revision.id in self._granted:
            del self._granted[revision.id]
            self._granted[revision.id] = None
        known.history.note_arrival(now)
        return known.history

    def note_taken(self, revision: str, now: float) -> None:
        """One was given to an invocation."""
        self.taken += 1
        if (known := self._known.get(revision)) is not None:
            known.history.note_taken(now)

    def note_missing(self, revision: str, now: float) -> None:
        """An instance had to be started for an invocation."""
        if (known := self._known.get(revision)) is not None:
            known.history.note_missing(now)
            self.review(revision, now)

    def note_back(self, revision: str, now: float) -> None:
        """What its instances come from is there again."""
        if (known := self._known.get(revision)) is not None:
            known.history.note_back()
            self.review(revision, now)

    def note_failed(self, revision: str, now: float, *, took_s: float) -> None:
        """One could not be started, or died before anybody used it; its init took so
        long."""
        if (known := self._known.get(revision)) is not None:
            known.history.note_failed(now, took_s=took_s)

    def forget(self, revision: str) -> None:
        """It will not be used any more."""
        if revision in self._known:
            self._have(revision, 0)
            del self._known[revision]

    def review(self, revision: str, now: float) -> None:
        """Have as many as its history says now."""
        known = self._known.get(revision)
        if known is not None:
            wanted = self._within(
                known, known.history.standbys(now, keep_s=self._keep_s)
            )
            if wanted != self._state.standbys_of(revision)[0]:
                self._grant(revision, wanted)

    def sweep(self, now: float) -> None:
        """From time to time: for what changes by time alone."""
        for revision in tuple(self._known):
            self.review(revision, now)

    def _within(self, known: Known, wanted: int) -> int:
        """What a revision may have of what it wants."""
        if known.revision.config.network is not Network.EGRESS:
            return wanted
        others = self._with_egress - {known.revision.id}
        return min(wanted, 1) if len(others) < MAX_WITH_EGRESS else 0

    def _grant(self, revision: str, count: int) -> None:
        granted = self._have(revision, count)
        while granted < count and (other := next(iter(self._granted), revision)) != (
            revision
        ):
            # Whoever was used least recently gives first.
            self._have(other, 0)
            granted = self._have(revision, count)

    def _have(self, revision: str, count: int) -> int:
        """How many of them are granted."""
        tenant = self._known[revision].function.tenant_id
        self._act(self._state.stand_by(revision, count, tenant=tenant))
        self._retire(self._state.surplus_of(revision))
        granted = self._state.standbys_of(revision)[0]
        if granted:
            self._granted.setdefault(revision)
            if self._known[revision].revision.config.network is Network.EGRESS:
                self._with_egress.add(revision)
        else:
            self._granted.pop(revision, None)
            self._with_egress.discard(revision)
        return granted

    def _forget_some(self) -> None:
        while len(self._known) >= self._max_known:
            self.forget(next(iter(self._known)))
