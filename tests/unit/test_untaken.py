"""What answers may wait for clients who do not take them."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from sandlot_engine.errors import Internal
from sandlot_engine.gateway import untaken as module
from sandlot_engine.gateway.untaken import Tally, Unsent, Untaken


def test_over_a_tenants_bound_whoever_waited_longest_is_cut() -> None:
    untaken, cut = Untaken(most=1_000, of_tenant=100), list[str]()

    for name in ("a", "b", "c"):
        untaken.add("acme", 40, partial(cut.append, name))
    untaken.add("globex", 90, lambda: cut.append("theirs"))

    assert cut == ["a"]
    assert untaken.total == 80 + 90
    assert untaken.cuts == 1


def test_over_the_bound_of_all_it_is_one_of_who_has_most() -> None:
    untaken, cut = Untaken(most=100, of_tenant=100), list[str]()

    for name in ("a", "b"):
        untaken.add("acme", 40, partial(cut.append, name))
    untaken.add("globex", 30, lambda: cut.append("theirs"))

    assert cut == ["a"]


def test_what_was_taken_counts_no_more_and_is_not_cut() -> None:
    untaken, cut = Untaken(most=100, of_tenant=100), list[str]()
    taken = untaken.add("acme", 90, lambda: cut.append("a"))

    untaken.remove(taken)
    untaken.remove(taken)
    untaken.add("acme", 90, lambda: cut.append("b"))

    assert (cut, untaken.total) == ([], 90)


def test_what_a_tenant_still_has_counts_when_another_of_its_answers_was_taken() -> None:
    untaken, cut = Untaken(most=1_000, of_tenant=100), list[str]()
    untaken.add("acme", 60, partial(cut.append, "a"))
    taken = untaken.add("acme", 20, partial(cut.append, "b"))

    untaken.remove(taken)
    untaken.add("acme", 50, partial(cut.append, "c"))

    assert (cut, untaken.total) == (["a"], 50)


def test_of_a_tenant_that_has_nothing_more_nothing_is_kept() -> None:
    untaken, unsent = Untaken(), Unsent()

    untaken.remove(untaken.add("acme", 1, lambda: None))
    with unsent.held("acme", 1):
        pass

    assert not untaken._waiting  # noqa: SLF001
    assert not untaken._bytes  # noqa: SLF001
    assert not unsent._bytes  # noqa: SLF001


@pytest.mark.parametrize(("most", "of_tenant"), [(100, 1_000), (1_000, 100)])
def test_what_is_as_much_as_is_allowed_may_wait(most: int, of_tenant: int) -> None:
    untaken, cut = Untaken(most=most, of_tenant=of_tenant), list[str]()
    unsent = Unsent(most=most, of_tenant=of_tenant, share=0)

    untaken.add("acme", 100, partial(cut.append, "a"))
    with unsent.held("acme", 100):
        pass

    assert cut == []
    with pytest.raises(Internal):
        unsent.held("acme", 101).__enter__()


def test_one_that_grows_has_waited_for_as_long() -> None:
    untaken, cut = Untaken(most=1_000, of_tenant=100), list[str]()
    first = untaken.add("acme", 10, partial(cut.append, "a"))
    untaken.add("acme", 40, partial(cut.append, "b"))

    untaken.resize(first, 50)
    assert (cut, untaken.total) == ([], 90)
    untaken.resize(first, 70)
    assert (cut, untaken.total) == (["a"], 40)
    untaken.resize(first, 90)

    assert (cut, untaken.total) == (["a"], 40)


def test_one_that_is_larger_than_the_bound_is_cut_itself() -> None:
    untaken, cut = Untaken(most=100, of_tenant=50), list[str]()

    untaken.add("acme", 60, lambda: cut.append("a"))

    assert (cut, untaken.total) == (["a"], 0)


def test_what_is_over_a_tenants_bound_is_not_sent() -> None:
    unsent = Unsent(most=1_000, of_tenant=100, share=10)

    with unsent.held("acme", 60):
        with pytest.raises(Internal, match="60 bytes of earlier answers"):
            unsent.held("acme", 60).__enter__()
        with unsent.held("globex", 60):
            assert unsent.total == 120

    with unsent.held("acme", 60):
        assert unsent.total == 60


def test_what_is_held_still_counts_when_another_was_sent() -> None:
    unsent = Unsent(most=1_000, of_tenant=100, share=10)

    with unsent.held("acme", 60):
        with unsent.held("acme", 30):
            pass
        with pytest.raises(Internal, match="60 bytes of earlier answers"):
            unsent.held("acme", 60).__enter__()


def test_others_leave_a_tenant_its_share() -> None:
    unsent = Unsent(most=100, of_tenant=100, share=10)

    with ExitStack() as holding:
        holding.enter_context(unsent.held("acme", 95))
        holding.enter_context(unsent.held("globex", 10))
        with pytest.raises(Internal):
            unsent.held("globex", 1).__enter__()

    assert unsent.total == 0


def test_what_was_cut_and_what_was_not_sent_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tally, told = Tally(), list[Any]()
    tally.tell = told.append
    monkeypatch.setattr(module, "tally", tally)

    for _ in range(2):
        Untaken(most=100, of_tenant=50).add("acme", 60, lambda: None)
    with pytest.raises(Internal):
        Unsent(most=100, of_tenant=50).held("acme", 60).__enter__()

    assert (tally.cut, tally.unsent) == (2, 1)
    assert told == [True, True, False]
