"""How many instances are expected again, of those that there were."""

from sandlot_sandbox.host.crowd import DOUBT_S, FEWEST, HALF_LIFE_S, Crowd

ZYGOTE, OTHER = "a zygote", "another of the same function"


def crowd_of(instances: int, *, keeper: object = ZYGOTE, at: float = 0.0) -> Crowd:
    """One that has gone."""
    crowd = Crowd()
    come(crowd, instances, keeper=keeper, at=at)
    go(crowd, instances)
    return crowd


def come(crowd: Crowd, instances: int, *, keeper: object = ZYGOTE, at: float) -> None:
    for _ in range(instances):
        crowd.come(keeper, at)


def go(crowd: Crowd, instances: int) -> None:
    for _ in range(instances):
        crowd.go()


def test_as_many_as_there_were_at_once_are_expected_again() -> None:
    crowd = crowd_of(100)
    for instances in (40, 60):
        come(crowd, instances, at=1.0)
        go(crowd, instances)

    assert crowd.expected(2.0) == 100


def test_those_are_missing_of_whom_there_is_no_instance() -> None:
    crowd = crowd_of(100)
    assert crowd.missing(ZYGOTE, 1.0) == 100

    come(crowd, 30, at=1.0)
    assert crowd.missing(ZYGOTE, 1.0) == 70
    go(crowd, 10)
    assert crowd.missing(ZYGOTE, 1.0) == 80


def test_half_as_many_after_each_while_without_as_many() -> None:
    crowd = crowd_of(100)

    assert crowd.expected(HALF_LIFE_S - 1) == 100
    assert crowd.expected(HALF_LIFE_S) == 50
    assert crowd.expected(2 * HALF_LIFE_S) == 25


def test_one_that_comes_again_is_as_large_as_it_was_then() -> None:
    crowd = crowd_of(100)
    come(crowd, 60, at=HALF_LIFE_S)

    assert crowd.expected(HALF_LIFE_S) == 60
    assert crowd.expected(2 * HALF_LIFE_S - 1) == 60


def test_a_few_are_no_crowd() -> None:
    assert crowd_of(FEWEST).expected(0.0) == FEWEST
    assert crowd_of(FEWEST - 1).expected(0.0) == 0
    assert crowd_of(FEWEST - 1).missing(ZYGOTE, 0.0) == 0
    assert crowd_of(FEWEST).expected(HALF_LIFE_S) == 0


def test_a_doubt_halves_it_once_however_often_it_is_said() -> None:
    crowd = crowd_of(100)
    for now in (1.0, 2.0, DOUBT_S):
        crowd.doubt(now)
    assert crowd.expected(DOUBT_S) == 50

    crowd.doubt(1.0 + DOUBT_S)
    assert crowd.expected(1.0 + DOUBT_S) == 25


def test_one_zygote_keeps_cells_for_all_of_it_that_which_the_most_came_from() -> None:
    crowd = crowd_of(100)
    assert crowd.missing(OTHER, 1.0) == 0

    come(crowd, 100, keeper=OTHER, at=2.0)
    go(crowd, 100)

    assert crowd.missing(ZYGOTE, 3.0) == 0
    assert crowd.missing(OTHER, 3.0) == 100


def test_when_that_is_gone_the_next_does_and_the_crowd_is_no_younger() -> None:
    crowd = crowd_of(100)
    crowd.leave(OTHER)
    assert crowd.missing(OTHER, 1.0) == 0

    crowd.leave(ZYGOTE)

    assert crowd.missing(OTHER, HALF_LIFE_S - 1) == 100
    assert crowd.missing(OTHER, HALF_LIFE_S) == 50
