"""How long a zygote is believed that nothing came of its forks."""

import pytest

from sandlot_sandbox.host.stillborn import BACK, MOST_S, STILLBORN_S, Credit


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credit(clock: Clock) -> Credit:
    return Credit(clock)


def test_what_the_kernel_refuses_at_once_is_believed_hundreds_of_times(
    credit: Credit,
) -> None:
    assert all(credit.covers(MOST_S / 500) for _ in range(499))


def test_one_that_had_time_to_work_is_not_believed(credit: Credit) -> None:
    assert not credit.covers(STILLBORN_S + 0.01)


def test_all_of_them_together_have_so_long(credit: Credit) -> None:
    each_s = 0.9 * STILLBORN_S
    believed = 0
    while credit.covers(each_s):
        believed += 1

    assert believed * each_s <= MOST_S
    assert not credit.covers(each_s)


def test_time_gives_some_of_it_back_and_no_more_than_there_was(
    clock: Clock, credit: Credit
) -> None:
    while credit.covers(STILLBORN_S):
        pass
    assert not credit.covers(0.1)

    clock.now += 0.1 / BACK + 1
    assert credit.covers(0.1)
    assert not credit.covers(0.1)

    clock.now += 2 * MOST_S / BACK
    believed = 0
    while credit.covers(STILLBORN_S):
        believed += 1
    assert believed * STILLBORN_S == MOST_S


def test_what_is_not_believed_takes_nothing(credit: Credit) -> None:
    for _ in range(10):
        assert not credit.covers(STILLBORN_S + 1)
    assert credit.covers(STILLBORN_S)
