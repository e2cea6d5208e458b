"""What the scheduler's state decides, and what it never does."""

import pytest

from sandlot_engine.scheduler.state import Assign, Retire, Start, StartAhead
from tests.unit.scheduler.states import arrive, keep, new_state, start_ahead, warm


def test_the_newest_idle_instance_is_preferred() -> None:
    state = new_state()
    warm(state, 1, 2)

    assert arrive(state, "i", "resize") == [Assign("i", 2)]


def test_a_version_without_an_idle_instance_starts_one() -> None:
    state = new_state()
    warm(state, 1, version="parse")

    assert arrive(state, "i", "resize") == [Start("i", "resize")]


def test_a_freed_instance_goes_to_who_has_waited_longest() -> None:
    state = new_state(instances=1)
    arrive(state, "first", "resize")
    state.start_ended("resize", 1)
    arrive(state, "second", "resize")
    arrive(state, "third", "resize")

    assert state.instance_freed(1) == [Assign("second", 1)]


def test_what_was_borrowed_is_busy_until_it_is_freed() -> None:
    state = new_state(instances=2)
    warm(state, 1, 2)

    borrowed = [state.instance_borrowed("resize") for _ in range(3)]

    assert borrowed == [2, 1, None]
    state.check()
    assert state.instance_borrowed("parse") is None
    assert arrive(state, "i", "resize") == []
    assert state.instance_freed(1) == [Assign("i", 1)]


def test_an_idle_instance_that_has_to_go_leaves_its_place() -> None:
    state = new_state(instances=1)
    warm(state, 1)

    assert state.evict(1) == [Retire(1)]
    assert state.evict(1) == []
    assert arrive(state, "i", "resize") == [Start("i", "resize")]


def test_no_more_are_started_at_once_than_may_be() -> None:
    state = new_state(starting=1)
    arrive(state, "first", "resize")

    assert arrive(state, "second", "parse") == []
    assert state.start_ended("resize", 1) == [Start("second", "parse")]


def test_a_full_machine_makes_room_by_an_idle_instance_of_another() -> None:
    state = new_state(instances=2)
    warm(state, 1, 2)

    assert arrive(state, "i", "parse") == [Retire(1), Start("i", "parse")]


def test_on_a_machine_full_of_busy_instances_it_waits() -> None:
    state = new_state(instances=1)
    warm(state, 1)
    arrive(state, "busy", "resize")

    assert arrive(state, "i", "parse") == []
    assert state.instance_died(1) == [Start("i", "parse")]


def test_a_failed_start_lets_the_next_one_begin() -> None:
    state = new_state(instances=1)
    arrive(state, "first", "resize")
    arrive(state, "second", "resize")

    assert state.start_ended("resize", None) == [Start("second", "resize")]


def test_the_stalest_idle_instance_of_all_makes_room() -> None:
    state = new_state(instances=3)
    warm(state, 1, version="parse")
    warm(state, 2, 3, version="mail")
    arrive(state, "again", "parse")
    state.instance_freed(1)

    # Of the version that was there first, but used since.
    assert arrive(state, "i", "resize") == [Retire(2), Start("i", "resize")]


def test_a_tenant_whose_starts_hang_leaves_places_to_others() -> None:
    state = new_state(starting=2, of_tenant=1)
    arrive(state, "hangs", "resize")

    assert arrive(state, "of the same tenant", "parse") == []
    assert arrive(state, "another's", "mail") == [Start("another's", "mail")]
    assert state.start_ended("resize", None) == [Start("of the same tenant", "parse")]


def test_tenants_take_turns_to_start() -> None:
    state = new_state(starting=1)
    arrive(state, "first", "resize")
    for number in range(3):
        arrive(state, f"acme's {number}", "parse")
    arrive(state, "globex's", "mail")

    assert state.start_ended("resize", None) == [Start("acme's 0", "parse")]
    assert state.start_ended("parse", None) == [Start("globex's", "mail")]
    assert state.start_ended("mail", None) == [Start("acme's 1", "parse")]


def test_what_is_kept_is_started_ahead_and_waits_idle() -> None:
    state = new_state()

    assert keep(state, "resize", 2) == [StartAhead("resize")] * 2
    assert state.start_ended("resize", 1, ahead=True) == []
    assert state.kept_of("resize") == (2, 0)
    assert state.instance_freed(1) == []
    assert state.kept_of("resize") == (2, 1)
    assert arrive(state, "i", "resize") == [Assign("i", 1)]


def test_one_that_is_started_ahead_is_for_whoever_waits_when_it_is_initialised() -> (
    None
):
    state = new_state(instances=1)
    keep(state, "resize", 1)
    arrive(state, "i", "resize")

    assert state.start_ended("resize", 1, ahead=True) == []
    assert state.instance_freed(1) == [Assign("i", 1)]


def test_nobody_is_given_what_is_still_being_initialised() -> None:
    state = new_state()
    keep(state, "resize", 1)
    state.start_ended("resize", 1, ahead=True)

    assert arrive(state, "i", "resize") == [Start("i", "resize")]


def test_what_is_kept_makes_no_room_for_others() -> None:
    state = new_state(instances=2)
    keep(state, "resize", 1)
    start_ahead(state, 1)
    warm(state, 2, version="parse")

    assert not state.can_spare(1)
    assert arrive(state, "i", "mail") == [Retire(2), Start("i", "mail")]
    assert arrive(state, "j", "mail") == []


def test_what_is_kept_is_replaced_when_it_dies() -> None:
    state = new_state()
    keep(state, "resize", 1)
    state.start_ended("resize", 1, ahead=True)

    assert state.instance_died(1) == [StartAhead("resize")]


def test_a_start_ahead_that_failed_is_tried_again_when_somebody_says_so() -> None:
    state = new_state()
    keep(state, "resize", 1)

    assert state.start_ended("resize", None, ahead=True) == []
    assert state.is_stalled("resize")
    assert keep(state, "resize", 1) == [StartAhead("resize")]


def test_invocations_come_before_what_is_started_ahead() -> None:
    state = new_state(starting=1)
    arrive(state, "first", "resize")
    keep(state, "resize", 2)
    arrive(state, "second", "mail")

    assert state.start_ended("resize", 1) == [Start("second", "mail")]
    assert state.start_ended("mail", 2) == [StartAhead("resize")]


def test_versions_take_turns_to_start_ahead() -> None:
    state = new_state(starting=1)
    keep(state, "resize", 3)
    keep(state, "mail", 1)

    assert state.start_ended("resize", 1, ahead=True) == [StartAhead("resize")]
    assert state.start_ended("resize", 2, ahead=True) == [StartAhead("mail")]
    assert state.start_ended("mail", 3, ahead=True) == [StartAhead("resize")]


def test_one_that_ends_before_it_was_used_is_not_replaced_at_once() -> None:
    state = new_state()
    keep(state, "resize", 1)
    state.start_ended("resize", 1, ahead=True)

    assert state.instance_died(1, was_used=False) == []
    assert keep(state, "resize", 1) == [StartAhead("resize")]


def test_no_more_are_kept_than_may_be() -> None:
    state = new_state(kept=3)

    assert len(keep(state, "resize", 2)) == 2
    assert len(keep(state, "mail", 2)) == 1
    assert state.kept_of("mail") == (1, 0)


def test_what_is_kept_no_more_can_go() -> None:
    state = new_state(instances=1)
    keep(state, "resize", 1)
    start_ahead(state, 1)
    keep(state, "resize", 0)

    assert state.can_spare(1)
    assert arrive(state, "i", "mail") == [Retire(1), Start("i", "mail")]


# --- fairness -------------------------------------------------------------------------


def test_a_tenant_leaves_others_some_places_however_long_its_own_are_busy() -> None:
    state = new_state(instances=3, places=2)
    for invocation in ("a", "b", "c"):
        arrive(state, invocation, "resize")

    assert state.waiting == 1
    assert arrive(state, "globex's", "mail") == [Start("globex's", "mail")]
    assert arrive(state, "initech's", "sort") == []


def test_a_tenant_with_all_its_places_makes_room_by_its_own() -> None:
    state = new_state(instances=3, places=2)
    warm(state, 1, 2)
    warm(state, 3, version="mail")

    assert arrive(state, "i", "parse") == [Retire(1), Start("i", "parse")]


def test_who_has_less_gets_the_next_place_of_who_has_more() -> None:
    state = new_state(instances=3)
    for number in (1, 2, 3):
        arrive(state, f"acme's {number}", "resize")
        state.start_ended("resize", number)
    arrive(state, "acme's 4", "resize")
    for name in ("b", "c"):
        arrive(state, f"globex's {name}", "mail")

    assert state.instance_freed(1) == [Retire(1), Start("globex's b", "mail")]
    state.start_ended("mail", 4)
    # Now it is two of one and one of the other: nobody has much more.
    assert state.instance_freed(2) == [Assign("acme's 4", 2)]


def test_what_is_kept_is_given_to_nobody_else() -> None:
    state = new_state(instances=3)
    keep(state, "resize", 3)
    for number in (1, 2, 3):
        start_ahead(state, number)
        arrive(state, f"acme's {number}", "resize")
    arrive(state, "acme's 4", "resize")
    arrive(state, "globex's", "mail")

    assert state.instance_freed(1) == [Assign("acme's 4", 1)]


def test_of_idle_instances_those_of_who_has_more_go_first() -> None:
    state = new_state(instances=4)
    warm(state, 1, version="mail")
    warm(state, 2, 3, 4, version="resize")

    assert arrive(state, "i", "sort") == [Retire(2), Start("i", "sort")]


def test_what_is_worth_more_is_spared() -> None:
    state = new_state(instances=2)
    arrive(state, "warm", "mail")
    state.start_ended("mail", 1)
    state.worth("mail", 16.0)
    state.instance_freed(1)
    warm(state, 2, version="sort")

    assert arrive(state, "i", "resize") == [Retire(2), Start("i", "resize")]


def test_what_is_over_is_forgotten() -> None:
    state = new_state(instances=1)
    warm(state, 1, version="mail")
    arrive(state, "busy", "mail")
    state.worth("mail", 2.0)
    arrive(state, "waits", "resize")
    state.invocation_left("waits")
    state.instance_died(1)

    state.check()
    assert not state.tenants
    assert not state.versions
    assert not state.worths


def test_its_repr_counts() -> None:
    state = new_state(starting=1)
    warm(state, 1)
    arrive(state, "a", "parse")
    arrive(state, "b", "parse")

    assert repr(state) == "<ClusterState 1 idle, 0 busy, 1 starting, 1 waiting>"


def test_a_state_that_contradicts_itself_is_noticed() -> None:
    state = new_state()
    warm(state, 1)
    state.homes.clear()

    with pytest.raises((AssertionError, KeyError)):
        state.check()
