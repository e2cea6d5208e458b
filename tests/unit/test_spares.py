"""How many cells all zygotes together keep ready, and who yields to whom."""

from dataclasses import dataclass

from sandlot_sandbox.host.room import OF_BERTH
from sandlot_sandbox.host.spares import (
    AT_A_FAILURE,
    FILL_EVERY_S,
    TROUBLE_S,
    Spares,
)


@dataclass(eq=False)
class Keeper:
    """Has cells that somebody said it has."""

    owner: int
    kept: int = 0
    each: int = OF_BERTH
    ahead: int = 4
    """Those of them that are for no crowd."""

    making: bool = False
    """They are not made yet, and so cannot be given up."""

    @property
    def extra(self) -> int:
        return max(0, self.kept - self.ahead)

    def give_up(self, count: int) -> int:
        if self.making:
            return 0
        self.kept -= count
        return count


def filled(spares: Spares, *keepers: Keeper) -> list[int]:
    """How many more than a few each has, when all took turns until there was room for
    none."""
    for _ in range(1_000):
        if not [cells for cells in keepers if may_add(spares, cells)]:
            break
    return [cells.extra for cells in keepers]


def may_add(spares: Spares, cells: Keeper) -> bool:
    has_room = spares.has_room_for(cells)
    cells.kept += has_room
    return has_room


def taken_up(crowd: Keeper, *others: Keeper) -> Spares:
    """Files for eighty of the largest, of which the crowd has all that it may."""
    spares = Spares(100, files=80 * OF_BERTH, most_extra=1_000)
    joined(spares, crowd, *others)
    filled(spares, crowd)
    return spares


def joined(spares: Spares, *keepers: Keeper) -> None:
    for cells in keepers:
        spares.add(cells)


def test_those_of_a_crowd_are_beside_those_of_everybody() -> None:
    spares, crowd = Spares(100, most_extra=50), Keeper(1, kept=4)
    joined(spares, crowd)

    assert filled(spares, crowd) == [50]
    assert spares.ready == 54
    assert spares.left == 96


def test_no_crowd_takes_what_instances_and_others_need_of_files() -> None:
    spares = Spares(100, files=80 * OF_BERTH, most_extra=1_000)
    crowd = Keeper(1)
    joined(spares, crowd)

    assert sum(filled(spares, crowd)) + 4 == 70
    assert spares.left == 76


def test_no_crowd_takes_what_instances_have_of_files() -> None:
    spares = Spares(100, files=80 * OF_BERTH, most_extra=1_000)
    crowd = Keeper(1)
    joined(spares, crowd)
    spares.hold(40 * OF_BERTH)

    filled(spares, crowd)

    assert crowd.kept == 35


def test_crowds_yield_to_instances() -> None:
    crowd, few = Keeper(1), Keeper(2, kept=4)
    spares = taken_up(crowd, few)

    spares.hold(40 * OF_BERTH)
    assert (crowd.kept, few.kept) == (36, 4)
    spares.hold(40 * OF_BERTH)
    assert (crowd.kept, few.kept) == (4, 4)
    assert spares.left == 0

    spares.let_go(80 * OF_BERTH)
    assert spares.left == 72


def test_crowds_yield_to_the_few_that_everybody_keeps() -> None:
    crowd, few = Keeper(1), Keeper(2, ahead=40)
    spares = taken_up(crowd, few)
    assert spares.ready == 70

    few.kept += spares.allow(40)

    assert few.kept == 40
    assert spares.ready == 80


def test_what_takes_fewer_files_may_be_more() -> None:
    crowd = Keeper(1, each=OF_BERTH // 2)
    spares = taken_up(crowd)
    assert crowd.kept == 140

    spares.hold(40 * OF_BERTH)

    assert crowd.kept == 80


def test_who_owns_the_most_gives_to_who_owns_fewer() -> None:
    spares = Spares(100, most_extra=60)
    first, second, other = Keeper(1), Keeper(1), Keeper(2)
    joined(spares, first, second, other)
    assert sum(filled(spares, first, second)) == 60

    assert sum(filled(spares, other)) in (29, 30)
    assert first.extra + second.extra + other.extra == 60
    assert abs(first.extra - second.extra) <= 1


def test_who_owns_one_more_keeps_it() -> None:
    spares, first, second = Spares(100, most_extra=5), Keeper(1), Keeper(2)
    joined(spares, first, second)

    assert filled(spares, first) == [5]
    assert filled(spares, second) == [2]
    assert not may_add(spares, first)


def test_what_is_still_being_made_goes_to_nobody_else() -> None:
    spares = Spares(100, most_extra=50)
    first, second, other = Keeper(1), Keeper(1), Keeper(2)
    joined(spares, first, second, other)
    filled(spares, first, second)

    first.making = second.making = True
    assert not may_add(spares, other)

    second.making = False
    assert may_add(spares, other)


def test_where_one_cannot_be_made_for_who_waits_crowds_have_fewer() -> None:
    spares, crowd = Spares(100, most_extra=50), Keeper(1, kept=4)
    joined(spares, crowd)
    filled(spares, crowd)

    spares.note_failure()
    assert crowd.extra == 50 - AT_A_FAILURE
    for _ in range(5):
        spares.note_failure()
    assert crowd.kept == 4


def test_each_who_asks_has_a_turn_of_its_own_and_none_while_memory_is_short() -> None:
    spares = Spares(100, most_extra=50)

    turns = [spares.turn_at(10.0) for _ in range(3)]
    assert turns == [10.0, 10.0 + FILL_EVERY_S, 10.0 + 2 * FILL_EVERY_S]

    spares.note_trouble(11.0)
    assert spares.turn_at(12.0) == 11.0 + TROUBLE_S


def test_what_is_kept_ready_yields_to_instances() -> None:
    spares = Spares(100, files=10 * OF_BERTH)
    assert spares.left == 10

    spares.hold(4 * OF_BERTH)
    assert spares.left == 6
    spares.hold(7 * OF_BERTH)
    assert spares.left == 0


def test_who_is_gone_holds_nothing() -> None:
    spares, crowd = Spares(100, most_extra=50), Keeper(1, kept=4)
    joined(spares, crowd)
    filled(spares, crowd)

    spares.remove(crowd)

    assert (spares.ready, spares.left) == (0, 100)
    again = Keeper(2)
    joined(spares, again)
    assert filled(spares, again) == [50]
