"""What the scheduler's state decides of who is held, and of standbys."""

from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
    StartAhead,
)
from tests.unit.scheduler.states import (
    TENANTS,
    arrive,
    keep,
    new_state,
    start_ahead,
    warm,
)

# --- held -----------------------------------------------------------------------------


def _serve(state: ClusterState, *instances: int) -> None:
    for instance in instances:
        arrive(state, f"runs-{instance}", "resize")
        state.start_ended("resize", instance)


def _hold(state: ClusterState, invocation: str) -> list[Decision]:
    return state.invocation_arrived(
        invocation, "resize", tenant=TENANTS["resize"], holds=True
    )


def test_none_is_started_for_one_that_is_held_and_it_gets_the_next_free_one() -> None:
    state = new_state()
    _serve(state, 1)

    assert _hold(state, "i") == []
    assert state.instance_freed(1) == [Assign("i", 1)]


def test_there_is_one_that_serves_for_each_that_is_held() -> None:
    state = new_state()
    _serve(state, 1)
    _hold(state, "i")

    assert _hold(state, "j") == [Start("j", "resize")]


def test_one_is_started_when_it_has_been_held_for_long_enough() -> None:
    state = new_state()
    _serve(state, 1)
    _hold(state, "i")

    assert state.hold_no_more("i") == [Start("i", "resize")]
    assert state.hold_no_more("i") == []
    assert state.hold_no_more("nobody") == []


def test_one_is_started_when_what_it_is_held_for_dies() -> None:
    state = new_state()
    _serve(state, 1)
    _hold(state, "i")

    assert state.instance_died(1) == [Start("i", "resize")]


def test_who_leaves_while_it_is_held_leaves_nothing() -> None:
    state = new_state()
    _serve(state, 1)
    _hold(state, "i")

    state.invocation_left("i")

    state.check()
    assert state.waiting == 0


# --- standing by ----------------------------------------------------------------------


def _stand_by(state: ClusterState, version: str, count: int) -> list[Decision]:
    return state.stand_by(version, count, tenant=TENANTS[version])


def test_a_standby_is_started_when_it_is_time_and_used_as_a_cold_start() -> None:
    state = new_state()

    assert _stand_by(state, "resize", 1) == []
    assert state.refill() == [StartAhead("resize")]
    assert state.refill() == []
    start_ahead(state, 1)
    assert state.standbys_of("resize") == (1, 1)
    assert arrive(state, "i", "resize") == [Assign("i", 1, is_standby=True)]
    assert state.refill() == [StartAhead("resize")]


def test_a_warm_instance_is_used_before_a_standby() -> None:
    state = new_state()
    _stand_by(state, "resize", 1)
    warm(state, 1)
    state.refill()
    start_ahead(state, 2)

    assert arrive(state, "i", "resize") == [Assign("i", 1)]
    assert arrive(state, "j", "resize") == [Assign("j", 2, is_standby=True)]


def test_what_is_kept_is_no_cold_start_and_what_stands_by_beside_it_is() -> None:
    state = new_state()
    keep(state, "resize", 1)
    _stand_by(state, "resize", 1)
    start_ahead(state, 1)
    state.refill()
    start_ahead(state, 2)

    assert arrive(state, "i", "resize") == [Assign("i", 1)]
    assert arrive(state, "j", "resize") == [Assign("j", 2, is_standby=True)]


def test_no_standby_is_started_before_somebody_who_waits_or_in_anothers_place() -> None:
    state = new_state(instances=2, starting=1)
    _stand_by(state, "resize", 2)
    arrive(state, "first", "mail")
    arrive(state, "second", "mail")

    assert state.refill() == []
    state.start_ended("mail", 1)
    state.start_ended("mail", 2)
    assert state.refill() == [], "there is no room"


def test_standbys_are_the_first_to_go() -> None:
    state = new_state(instances=2)
    warm(state, 1, version="mail")
    _stand_by(state, "resize", 1)
    state.refill()
    start_ahead(state, 2)

    assert arrive(state, "i", "sort") == [Retire(2), Start("i", "sort")]


def test_what_stands_by_no_more_is_surplus() -> None:
    state = new_state()
    _stand_by(state, "resize", 2)
    for number in (1, 2):
        state.refill()
        start_ahead(state, number)
    _stand_by(state, "resize", 1)

    assert state.surplus_of("resize") == [1]


def test_no_more_stand_by_than_may() -> None:
    state = new_state(standbys=3)
    _stand_by(state, "resize", 2)
    _stand_by(state, "mail", 2)

    assert state.standbys_of("mail") == (1, 0)


def test_who_was_given_what_is_kept_for_want_of_a_place_waits_no_more() -> None:
    state = new_state(instances=1)
    keep(state, "resize", 1)
    start_ahead(state, 1)

    decisions = state.invocation_arrived(
        "i", "resize", tenant=TENANTS["resize"], spares_fresh=True
    )

    assert [type(decision) for decision in decisions] == [Assign]
    state.check()
