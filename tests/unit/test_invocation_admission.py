"""How much a tenant may run at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.errors import Throttled
from sandlot_engine.invocation.admission import Admission


def test_as_many_as_allowed_are_admitted_and_no_more() -> None:
    admission = Admission()
    for _ in range(50):
        admission.admit("acme", limit=50)

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", limit=50)

    assert caught.value.message == (
        "tenant 'acme' already has 50 invocations running of 50 allowed"
    )
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    assert caught.value.limit == 50
    assert caught.value.retry_after_s > 0


def test_a_slot_given_back_can_be_taken_again() -> None:
    admission = Admission()
    admission.admit("acme", limit=1)

    admission.release("acme")
    admission.admit("acme", limit=1)

    assert admission.running("acme") == 1


def test_one_tenants_invocations_do_not_count_for_another() -> None:
    admission = Admission()
    admission.admit("acme", limit=1)

    admission.admit("globex", limit=1)

    assert (admission.running("acme"), admission.running("globex")) == (1, 1)


def test_a_limit_of_nought_admits_nothing() -> None:
    with pytest.raises(Throttled, match="0 invocations running of 0 allowed"):
        Admission().admit("acme", limit=0)


def test_a_lowered_limit_holds_at_once() -> None:
    admission = Admission()
    for _ in range(3):
        admission.admit("acme", limit=3)

    with pytest.raises(Throttled):
        admission.admit("acme", limit=2)


@given(st.lists(st.booleans()))
def test_the_count_is_what_was_taken_less_what_was_given_back(
    moves: list[bool],
) -> None:
    admission, running = Admission(), 0
    for takes in moves:
        if takes and running < 5:
            admission.admit("acme", limit=5)
            running += 1
        elif running and not takes:
            admission.release("acme")
            running -= 1

        assert admission.running("acme") == running
