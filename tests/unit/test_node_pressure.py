"""How much memory has to be given back."""

from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.node.pressure import (
    CELL_MB,
    CROWDS_SHARE,
    FLOOR_MB,
    FLOOR_SHARE,
    cells_for_crowds,
    short_mb,
)


def test_a_machine_with_enough_left_is_short_of_nothing() -> None:
    missing = short_mb(total_mb=24_000, available_mb=20_000, used_mb=9_000, budget_mb=0)

    assert missing == 0


def test_a_part_of_the_machine_stays_free() -> None:
    total = 24_000.0
    left = total / FLOOR_SHARE - 100

    missing = short_mb(total_mb=total, available_mb=left, used_mb=0, budget_mb=0)

    assert round(missing) == 100


def test_a_budget_holds_where_the_machine_has_more() -> None:
    missing = short_mb(
        total_mb=24_000, available_mb=20_000, used_mb=1_100, budget_mb=1_000
    )

    assert missing == 100


def test_a_small_machine_is_not_short_when_half_of_it_is_left() -> None:
    missing = short_mb(total_mb=400, available_mb=201, used_mb=0, budget_mb=0)

    assert missing == 0
    assert FLOOR_MB > 201


@given(st.floats(100, 1e6), st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_nobody_is_asked_for_more_than_is_missing(
    total: float, free: float, used: float, budget: float
) -> None:
    missing = short_mb(
        total_mb=total, available_mb=total * free, used_mb=used, budget_mb=budget
    )

    assert 0 <= missing <= max(total / 2, used)


def test_cells_for_crowds_take_no_more_than_a_part_of_the_memory() -> None:
    of_machine = cells_for_crowds(total_mb=8_192, budget_mb=0, processes=1 << 22)
    of_budget = cells_for_crowds(total_mb=8_192, budget_mb=1_024, processes=1 << 22)
    of_less = cells_for_crowds(total_mb=8_192, budget_mb=16_384, processes=1 << 22)

    assert of_machine * CELL_MB == 8_192 / CROWDS_SHARE
    assert of_budget * CELL_MB == 1_024 / CROWDS_SHARE
    assert of_less == of_machine


def test_nor_than_a_part_of_the_processes() -> None:
    cells = cells_for_crowds(total_mb=1 << 20, budget_mb=0, processes=4_096)

    assert cells == 4_096 // CROWDS_SHARE
