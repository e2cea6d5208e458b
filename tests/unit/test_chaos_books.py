"""Books that do not balance are seen."""

from collections import Counter

import pytest

from benchmarks.scenarios.chaos.books import Ledger, balance


def ledger(**changed: object) -> Ledger:
    """Of two events that succeeded, one that is dead after three runs, and one that
    waits."""
    fields: dict[str, object] = {
        "billed": Counter(a=1, b=2, d=3),
        "answered": Counter(a=1, b=2, d=3),
        "succeeded": frozenset("ab"),
        "dead": frozenset("d"),
        "queued": frozenset("q"),
    }
    return Ledger(**(fields | changed))  # type: ignore[arg-type]


ACCEPTED = {"a": False, "b": False, "d": True, "q": False}
RUNS = Counter(a=1, b=3, d=3)


def test_books_that_balance_have_nothing_wrong() -> None:
    verdict = balance(ACCEPTED, ledger(), RUNS, kills=1)

    assert verdict.wrong == []
    assert (verdict.succeeded, verdict.dead, verdict.queued) == (2, 1, 1)
    assert (verdict.runs, verdict.billed, verdict.duplicates) == (7, 6, 2)
    assert verdict.untold == 0


@pytest.mark.parametrize(
    ("accepted", "changed", "runs", "says"),
    [
        ({**ACCEPTED, "x": False}, {}, RUNS, "1 accepted events are lost: ['x']"),
        (ACCEPTED, {}, Counter(a=1, b=3, d=2), "billed for more than ran"),
        (ACCEPTED, {}, Counter(a=1, b=5, d=3), "ran unbilled without a kill"),
        ({**ACCEPTED, "a": True}, {}, RUNS, "succeeded whose function fails"),
        ({}, {}, RUNS, "nothing was accepted"),
    ],
    ids=["lost", "overbilled", "unbilled", "wrong-outcome", "nothing"],
)
def test_what_is_wrong_is_said(
    accepted: dict[str, bool], changed: dict[str, object], runs: Counter[str], says: str
) -> None:
    verdict = balance(accepted, ledger(**changed), runs, kills=1)

    assert any(says in wrong for wrong in verdict.wrong), verdict.wrong


def test_a_run_that_was_not_heard_is_forgiven_if_it_was_dropped() -> None:
    unheard = Counter(a=1, b=3, d=2)

    assert balance(ACCEPTED, ledger(), unheard, kills=1, dropped=1).wrong == []


def test_what_is_kept_and_was_told_to_nobody_is_counted() -> None:
    del (accepted := dict(ACCEPTED))["q"]

    assert balance(accepted, ledger(), RUNS, kills=1).untold == 1
