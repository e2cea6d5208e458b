"""How long a tenant's refusals are kept."""

import pytest

from sandlot_engine.gateway.rpc.pacing import AT_ONCE, MAX_WAIT_S, PER_S, Pace

LOUD, QUIET = "loud", "quiet"


def _refused(pace: Pace, count: int, *, now: float, who: str = LOUD) -> list[float]:
    return [pace.wait_s(who, now) for _ in range(count)]


def test_a_few_refusals_are_heard_at_once() -> None:
    assert _refused(Pace(), AT_ONCE, now=10.0) == [0.0] * AT_ONCE


def test_more_leave_one_after_another() -> None:
    pace = Pace()
    _refused(pace, AT_ONCE, now=10.0)

    first, second, third = _refused(pace, 3, now=10.0)

    assert first == pytest.approx(1 / PER_S)
    assert second == pytest.approx(2 / PER_S)
    assert third == pytest.approx(3 / PER_S)


def test_nobody_is_kept_longer_than_the_bound() -> None:
    waits = _refused(Pace(), 5 * int(AT_ONCE + PER_S * MAX_WAIT_S), now=10.0)

    assert max(waits) == pytest.approx(MAX_WAIT_S)
    assert waits[-1] == 0.0


def test_those_beyond_the_bound_take_nobodys_turn() -> None:
    pace = Pace()
    _refused(pace, 5 * int(AT_ONCE + PER_S * MAX_WAIT_S), now=10.0)

    assert pace.wait_s(LOUD, 11.0) == pytest.approx(MAX_WAIT_S - 1.0, abs=2 / PER_S)


def test_who_waits_a_while_is_as_before() -> None:
    pace = Pace()
    _refused(pace, 3 * AT_ONCE, now=10.0)
    later = 10.0 + 3 * AT_ONCE / PER_S

    assert _refused(pace, AT_ONCE, now=later) == [0.0] * AT_ONCE


def test_others_are_not_kept_for_it() -> None:
    pace = Pace()
    _refused(pace, 3 * AT_ONCE, now=10.0)

    assert pace.wait_s(QUIET, 10.0) == 0.0


def test_a_flood_leaves_at_its_pace() -> None:
    pace = Pace()
    times = [i / (4 * PER_S) for i in range(int(4 * PER_S))]

    left = sorted(now + pace.wait_s(LOUD, now) for now in times)

    assert sum(at <= 1.0 for at in left) == pytest.approx(AT_ONCE + PER_S, rel=0.01)


def test_what_it_keeps_in_mind_has_a_bound() -> None:
    pace = Pace()
    for number in range(10_000):
        pace.wait_s(f"tenant {number}", number * 0.01)

    assert len(pace._used_until) <= 1_024  # noqa: SLF001 - a bound nobody else sees
    assert pace.wait_s("tenant 9999", 100.0) == 0.0
