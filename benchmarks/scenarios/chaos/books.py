"""Whether the books balance: pure, but for reading the engine's database afterwards."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

_QUEUED = (0, 1, 2)
_DEAD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What an engine's database says, when it has stopped."""

    billed: Counter[str]
    """Records by event."""

    answered: Counter[str]
    """Those of them whose function answered: it ran to its end, or raised."""

    succeeded: frozenset[str]
    """Events with a record of a run that succeeded."""

    dead: frozenset[str]
    queued: frozenset[str]

    @classmethod
    def read(cls, database: Path) -> "Ledger":
        with closing(sqlite3.connect(database)) as connection:
            records = connection.execute("SELECT request_id, status FROM records")
            billed: Counter[str] = Counter()
            answered: Counter[str] = Counter()
            succeeded = set()
            for request_id, status in records:
                billed[request_id] += 1
                answered[request_id] += status in ("ok", "error")
                if status == "ok":
                    succeeded.add(request_id)
            events = connection.execute("SELECT request_id, state FROM events")
            states: dict[int, set[str]] = {}
            for request_id, state in events:
                states.setdefault(state, set()).add(request_id)
        return cls(
            billed=billed,
            answered=answered,
            succeeded=frozenset(succeeded),
            dead=frozenset(states.get(_DEAD, ())),
            queued=frozenset().union(*(states.get(state, ()) for state in _QUEUED)),
        )


@dataclass(slots=True)
class Verdict:
    """What was counted, and what is wrong."""

    accepted: int = 0
    succeeded: int = 0
    dead: int = 0
    queued: int = 0
    untold: int = 0
    """Kept by the engine, though no caller was told so."""

    runs: int = 0
    billed: int = 0
    unbilled: int = 0
    """Runs that something was killed in, so that nobody knows what they took."""

    duplicates: int = 0
    """Runs of events beyond their first, of those that succeeded."""

    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        where = f"succeeded {self.succeeded:,} + dead letters {self.dead:,}"
        unbilled = f" not billed {self.unbilled:,}"
        return [
            f"accepted {self.accepted:,} = {where} + queued {self.queued:,}",
            f"kept without an answer: {self.untold:,}",
            f"runs seen {self.runs:,}, billed {self.billed:,},{unbilled}",
            f"runs of events that had run, but for failures: {self.duplicates:,}",
        ]


def balance(
    accepted: Mapping[str, bool],
    ledger: Ledger,
    runs: Counter[str],
    *,
    kills: int,
    dropped: int = 0,
) -> Verdict:
    """`accepted` says of each event whether its function was to fail; `runs` what the
    function itself has told, `dropped` how many of these were not heard."""
    verdict = Verdict(accepted=len(accepted))
    lost: list[str] = []
    for request_id in accepted:
        if request_id in ledger.succeeded:
            verdict.succeeded += 1
        elif request_id in ledger.dead:
            verdict.dead += 1
        elif request_id in ledger.queued:
            verdict.queued += 1
        else:
            lost.append(request_id)
    known = ledger.succeeded | ledger.dead | ledger.queued
    verdict.untold = len(known - accepted.keys())
    verdict.runs, verdict.billed = runs.total(), ledger.billed.total()
    verdict.unbilled = sum(
        max(0, count - ledger.billed[id_]) for id_, count in runs.items()
    )
    verdict.duplicates = sum(
        count - 1 for id_, count in runs.items() if id_ in ledger.succeeded
    )
    if lost:
        verdict.wrong.append(f"{len(lost)} accepted events are lost: {lost[:3]}")
    # A run that was killed at its first step is billed, and has told nobody.
    unheard = [id_ for id_, count in ledger.answered.items() if count > runs[id_]]
    if len(unheard) > dropped:
        verdict.wrong.append(f"{len(unheard)} events are billed for more than ran")
    # One run of an event goes unbilled only if something was killed meanwhile.
    cut = [id_ for id_, n in runs.items() if n - ledger.billed[id_] > kills]
    if cut:
        verdict.wrong.append(f"{len(cut)} events ran unbilled without a kill")
    failing = {id_ for id_, fails in accepted.items() if fails}
    if failing & ledger.succeeded:
        verdict.wrong.append("events succeeded whose function fails")
    if not accepted:
        verdict.wrong.append("nothing was accepted")
    return verdict
