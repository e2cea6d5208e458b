"""How many instances are expected again, of those that there were."""

from sandlot_sandbox.host.crowd import FEWEST, HALF_LIFE_S, Crowd


def crowd_of(instances: int, *, at: float = 0.0) -> Crowd:
    crowd = Crowd()
    crowd.note(instances, at)
    return crowd


def test_as_many_as_there_were_at_once_are_expected_again() -> None:
    crowd = crowd_of(100)
    for instances in (40, 0, 60):
        crowd.note(instances, 1.0)

    assert crowd.expected(2.0) == 100


def test_half_as_many_after_each_while_without_as_many() -> None:
    crowd = crowd_of(100)

    assert crowd.expected(HALF_LIFE_S - 1) == 100
    assert crowd.expected(HALF_LIFE_S) == 50
    assert crowd.expected(2 * HALF_LIFE_S) == 25


def test_one_that_comes_again_is_as_large_as_it_was_then() -> None:
    crowd = crowd_of(100)
    crowd.note(60, HALF_LIFE_S)

    assert crowd.expected(HALF_LIFE_S) == 60
    assert crowd.expected(2 * HALF_LIFE_S - 1) == 60


def test_a_few_are_no_crowd() -> None:
    assert crowd_of(FEWEST - 1).expected(0.0) == 0
    assert crowd_of(FEWEST).expected(HALF_LIFE_S) == 0


def test_where_it_is_doubted_half_as_many_are_expected() -> None:
    crowd = crowd_of(100)
    crowd.doubt(1.0)

    assert crowd.expected(HALF_LIFE_S) == 50


def test_new_code_has_the_callers_of_the_old() -> None:
    after = crowd_of(20)
    after.follow(crowd_of(100), 1.0)
    after.follow(crowd_of(30), 1.0)

    assert after.expected(2.0) == 100
