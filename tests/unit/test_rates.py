"""Buckets of tokens, on a clock that a test moves."""

from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.rates import Rates


def _take(rates: Rates, now: float, key: str = "f") -> float:
    return rates.take(key, now, per_s=100.0, burst=1_000.0)


def test_as_many_as_it_holds_can_be_taken_at_once() -> None:
    rates = Rates()

    assert not any(_take(rates, 0.0) for _ in range(1_000))
    assert 0 < _take(rates, 0.0) <= 0.01 + 1e-6


def test_they_come_back_one_by_one() -> None:
    rates = Rates()
    for _ in range(1_000):
        _take(rates, 0.0)

    taken = [_take(rates, number / 200) == 0 for number in range(1, 201)]

    assert sum(taken) == 100
    assert taken[:4] == [False, True, False, True]


def test_no_more_are_saved_up() -> None:
    rates = Rates()
    _take(rates, 0.0)

    assert sum(_take(rates, 3_600.0) == 0 for _ in range(2_000)) == 1_000


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    rates = Rates()
    for _ in range(1_000):
        _take(rates, 0.0)

    rates.give_back("f")
    rates.give_back("nobody's")

    assert _take(rates, 0.0) == 0
    assert _take(rates, 0.0) > 0


def test_whoever_was_told_to_wait_finds_one_then() -> None:
    rates = Rates()
    for _ in range(1_000):
        _take(rates, 0.0)

    assert _take(rates, _take(rates, 0.0)) == 0


def test_a_rate_below_one_a_second_is_one_too() -> None:
    rates = Rates()

    assert rates.take("f", 0.0, per_s=0.1, burst=0.1) == 0
    assert rates.take("f", 1.0, per_s=0.1, burst=0.1) > 0


def test_only_those_that_are_in_use_are_remembered() -> None:
    rates = Rates()
    for number in range(10_000):
        _take(rates, number / 10, key=f"f-{number}")

    assert len(rates) <= 101


def test_after_a_crowd_they_become_few_again() -> None:
    rates = Rates()
    for number in range(1_000):
        _take(rates, 0.0, key=f"crowd-{number}")

    for number in range(1_000):
        _take(rates, 20.0 + 20.0 * number, key=f"later-{number}")

    assert len(rates) <= 2


def test_whoever_is_remembered_is_not_given_a_full_bucket_by_others_that_come() -> None:
    rates = Rates()
    for _ in range(1_000):
        _take(rates, 5_000.0)

    for number in range(100):
        _take(rates, 5_001.0, key=f"other-{number}")

    assert sum(_take(rates, 5_001.0) == 0 for _ in range(1_000)) == 100


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200))
def test_never_are_there_more_than_came(moves: list[tuple[float, bool]]) -> None:
    rates, now, taken = Rates(), 0.0, 0
    for after_s, gives_back in moves:
        now += after_s
        if gives_back and taken:
            rates.give_back("f")
            taken -= 1
        elif rates.take("f", now, per_s=2.0, burst=5.0) == 0:
            taken += 1
        assert taken <= 5 + 2 * now + 1e-6


def test_tokens_are_taken_ahead_by_a_share_and_given_back() -> None:
    rates = Rates()
    assert rates.take_share("a", divisor=4) == 0, "there is no bucket yet"
    rates.take("a", 0.0, per_s=100.0, burst=100.0)

    taken = rates.take_share("a", divisor=4)
    rest = [rates.take("a", 0.0, per_s=100.0, burst=100.0) for _ in range(99 - taken)]
    assert taken == 24
    assert not any(rest)
    assert rates.take("a", 0.0, per_s=100.0, burst=100.0) > 0

    rates.give_back("a", taken)
    assert rates.take("a", 0.0, per_s=100.0, burst=100.0) == 0
