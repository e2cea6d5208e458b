"""In which order idle instances go."""

from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.scheduler.idle import Idle


def _go(idle: Idle) -> int:
    """The first to go goes."""
    first = next(iter(idle))
    idle.discard(first, had_to_go=True)
    return first


def test_among_equals_the_stalest_goes_first() -> None:
    idle = Idle()
    for instance in (3, 1, 2):
        idle.add(instance, worth=1.0)
    idle.discard(3)
    idle.add(3, worth=1.0)

    assert list(idle) == [1, 2, 3]


def test_what_is_worth_less_goes_first() -> None:
    idle = Idle()
    idle.add(1, worth=8.0)
    idle.add(2, worth=1.0)
    idle.add(3, worth=64.0)

    assert [_go(idle) for _ in range(3)] == [2, 1, 3]


def test_what_is_used_again_makes_the_others_no_staler() -> None:
    idle = Idle()
    idle.add(1, worth=2.0)
    idle.add(2, worth=16.0)

    idle.discard(2)
    idle.discard(2)  # it is gone already
    idle.add(3, worth=1.0)

    assert list(idle) == [3, 1]


def test_nothing_is_spared_for_ever() -> None:
    idle = Idle()
    idle.add(0, worth=16.0)
    gone = []
    for instance in range(1, 40):
        idle.add(instance, worth=1.0)
        gone.append(_go(idle))

    assert gone.index(0) == 15


@given(st.lists(st.tuples(st.booleans(), st.floats(1e-9, 1e9))))
def test_whatever_is_in_comes_out_once(moves: list[tuple[bool, float]]) -> None:
    idle, inside = Idle(), set()
    for number, (leaves, worth) in enumerate(moves):
        idle.add(number, worth=worth)
        inside.add(number)
        if leaves:
            inside.remove(_go(idle))

        assert len(idle) == len(inside)
        assert all(each in idle for each in inside)
        assert sorted(idle) == sorted(inside)
