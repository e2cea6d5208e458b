"""How much a tenant, and a function, may run at once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.errors import Throttled
from sandlot_engine.invocation.admission import Admission

TOTAL = "ConcurrentInvocationLimitExceeded"
SHARE = "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_as_many_as_allowed_are_admitted_and_no_more() -> None:
    admission = Admission()
    for number in range(50):
        admission.admit("acme", f"f{number % 3}", limit=50)

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "f0", limit=50)

    assert caught.value.message == (
        "tenant 'acme' already has 50 invocations running of 50 allowed"
    )
    assert caught.value.reason == TOTAL
    assert caught.value.limit == 50
    assert caught.value.retry_after_s > 0


def test_a_slot_given_back_can_be_taken_again() -> None:
    admission = Admission()
    admission.admit("acme", "f", limit=1)

    admission.release("acme", "f")
    admission.admit("acme", "g", limit=1)

    assert admission.running("acme") == 1
    assert admission.running_of("acme", "f") == 0


def test_one_tenants_invocations_do_not_count_for_another() -> None:
    admission = Admission()
    admission.admit("acme", "f", limit=1)

    admission.admit("globex", "f", limit=1)

    assert (admission.running("acme"), admission.running("globex")) == (1, 1)


def test_a_limit_of_nought_admits_nothing() -> None:
    with pytest.raises(Throttled, match="0 invocations running of 0 allowed"):
        Admission().admit("acme", "f", limit=0)


def test_a_lowered_limit_holds_at_once() -> None:
    admission = Admission()
    for _ in range(3):
        admission.admit("acme", "f", limit=3)

    with pytest.raises(Throttled):
        admission.admit("acme", "f", limit=2)


# --- reserved concurrency --------------------------------------------------------


def test_a_function_has_no_more_than_is_reserved_for_it() -> None:
    admission = Admission()
    for _ in range(2):
        admission.admit("acme", "f", limit=100, reserved={"f": 2})

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "f", limit=100, reserved={"f": 2})

    assert caught.value.message == (
        "function 'f' already has 2 invocations running of 2 reserved for it"
    )
    assert (caught.value.reason, caught.value.limit) == (SHARE, 2)


def test_a_function_with_nought_reserved_is_off_even_where_all_is_full() -> None:
    admission = Admission()
    admission.admit("acme", "g", limit=1)

    with pytest.raises(Throttled, match="0 invocations running of 0 reserved") as off:
        admission.admit("acme", "f", limit=1, reserved={"f": 0})

    assert off.value.reason == SHARE


def test_others_leave_a_function_what_is_reserved_for_it() -> None:
    admission = Admission()
    reserved = {"f": 2, "off": 0}
    for name in ("g", "h", "g"):
        admission.admit("acme", name, limit=5, reserved=reserved)

    with pytest.raises(Throttled) as caught:
        admission.admit("acme", "h", limit=5, reserved=reserved)
    for _ in range(2):
        admission.admit("acme", "f", limit=5, reserved=reserved)

    assert caught.value.message == (
        "tenant 'acme' already has 3 invocations running of 3 allowed to functions "
        "without reserved concurrency: 2 of its 5 are reserved for others"
    )
    assert (caught.value.reason, caught.value.limit) == (TOTAL, 3)


def test_what_ran_before_it_was_reserved_counts_for_its_function() -> None:
    admission = Admission()
    for _ in range(3):
        admission.admit("acme", "f", limit=5)

    with pytest.raises(Throttled, match="3 invocations running of 2 reserved"):
        admission.admit("acme", "f", limit=5, reserved={"f": 2})
    admission.admit("acme", "g", limit=5, reserved={"f": 2})

    assert admission.running("acme") == 4


def test_a_tenants_limit_holds_where_more_is_reserved() -> None:
    admission = Admission()
    reserved = {"f": 5}
    for _ in range(3):
        admission.admit("acme", "f", limit=3, reserved=reserved)

    with pytest.raises(Throttled, match=r"3 invocations running of 3 allowed$"):
        admission.admit("acme", "f", limit=3, reserved=reserved)


NAMES = st.sampled_from(["f", "g", "h"])


@given(
    limit=st.integers(0, 8),
    reserved=st.dictionaries(NAMES, st.integers(0, 4)),
    moves=st.lists(st.tuples(st.booleans(), NAMES)),
)
def test_shares_are_both_a_bound_and_a_guarantee(
    limit: int, reserved: dict[str, int], moves: list[tuple[bool, str]]
) -> None:
    admission, running = Admission(), Counter[str]()
    rest = limit - sum(reserved.values())
    for takes, name in moves:
        if takes:
            others = sum(running[each] for each in running if each not in reserved)
            has_room = (
                running[name] < reserved[name] if name in reserved else others < rest
            )
            try:
                admission.admit("acme", name, limit=limit, reserved=reserved)
            except Throttled:
                assert not has_room or running.total() == limit
                # Where no more is reserved than there is, the limit is never in
                # the way of what is reserved.
                assert not has_room or rest < 0
            else:
                assert has_room
                running[name] += 1
        elif running[name]:
            admission.release("acme", name)
            running[name] -= 1

        assert admission.running("acme") == running.total() <= limit
        for each, share in reserved.items():
            assert admission.running_of("acme", each) == running[each] <= share
