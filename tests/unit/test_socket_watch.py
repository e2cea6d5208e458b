"""Who has more sockets than anybody counts is ended."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandlot_sandbox.guest.network_memory import NUMBER_OF_SOCKETS, open_number
from sandlot_sandbox.launcher import sockets
from sandlot_sandbox.launcher.sockets import (
    AT_A_LOOK,
    MAX_SOCKETS,
    SPENT_US,
    SocketWatch,
    number_of,
)


@dataclass(eq=False)
class Jail:
    """Has networks, and is told which of them is too full."""

    spent: int | None = None

    is_dying: bool = False
    sockets: dict[int, int] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)

    def spent_us(self) -> int | None:
        return self.spent

    def end_crowded(self, place: int) -> None:
        self.ended.append(place)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[int, int]]:
    """What the kernel would say of so many sockets, opened."""
    opened = {}
    for number in (0, MAX_SOCKETS, MAX_SOCKETS + 1):
        file = tmp_path / str(number)
        file.write_text(f"sockets: used {number}\nTCP: inuse 3 orphan 0 tw 0\n")
        opened[number] = os.open(file, os.O_RDONLY)
    yield opened
    for fd in opened.values():
        os.close(fd)


def test_one_has_as_many_as_it_may_and_no_more(told: dict[int, int]) -> None:
    jail = Jail(sockets={1: told[MAX_SOCKETS], 2: told[MAX_SOCKETS + 1], 3: told[0]})

    SocketWatch().look([jail])

    assert jail.ended == [2]


def test_what_dies_already_is_left_alone(told: dict[int, int]) -> None:
    jail = Jail(is_dying=True, sockets={1: told[MAX_SOCKETS + 1]})

    SocketWatch().look([jail])

    assert jail.ended == []


def test_nobody_is_looked_at_twice_at_once(told: dict[int, int]) -> None:
    jail = Jail(sockets={1: told[MAX_SOCKETS + 1]})
    watch = SocketWatch()

    watch.look([jail])
    watch.look([jail])

    assert jail.ended == [1]


def test_of_more_than_a_look_is_for_each_has_its_turn(
    told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.0)
    many = dict.fromkeys(range(3 * AT_A_LOOK), told[MAX_SOCKETS + 1])
    jail = Jail(sockets=many)
    watch = SocketWatch()

    watch.look([jail])
    assert len(jail.ended) == AT_A_LOOK
    for _ in range(2):
        watch.look([jail])

    assert sorted(jail.ended) == list(many)


def test_a_jail_with_many_is_looked_at_once_for_what_it_spent(
    told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.0)
    full = dict.fromkeys(range(2 * AT_A_LOOK), told[MAX_SOCKETS + 1])
    jail = Jail(spent=1_000, sockets=full)
    watch = SocketWatch()

    for _ in range(3):
        watch.look([jail])
    assert len(jail.ended) == 2 * AT_A_LOOK

    jail.spent = 1_000 + SPENT_US - 1
    watch.look([jail])
    assert len(jail.ended) == 2 * AT_A_LOOK

    jail.spent = 1_000 + SPENT_US
    watch.look([jail])
    assert len(jail.ended) == 3 * AT_A_LOOK

    # A round that has begun comes to its end, whoever rests meanwhile.
    watch.look([jail])
    assert len(jail.ended) == 4 * AT_A_LOOK


def test_nobody_waits_for_one_that_has_thousands(
    told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.0)
    many = Jail(sockets=dict.fromkeys(range(10 * AT_A_LOOK), told[0]))
    others = [Jail(sockets={1: told[MAX_SOCKETS + 1]}) for _ in range(3)]
    watch = SocketWatch()

    for _ in range(2):
        watch.look([many, *others])

    assert [jail.ended for jail in others] == [[1]] * 3


def test_what_has_few_is_looked_at_each_time(
    told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.0)
    jail = Jail(spent=0, sockets={1: told[MAX_SOCKETS + 1]})
    watch = SocketWatch()

    for _ in range(2):
        watch.look([jail])

    assert jail.ended == [1, 1]


def test_what_is_gone_since_its_round_began_is_not_looked_at(
    told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.0)
    jail = Jail(sockets=dict.fromkeys(range(2 * AT_A_LOOK), told[MAX_SOCKETS + 1]))
    watch = SocketWatch()
    watch.look([jail])

    jail.sockets.clear()
    watch.look([jail])
    watch.look([])

    assert len(jail.ended) == AT_A_LOOK


def test_the_other_end_counts_before_anybody_accepts_it() -> None:
    if not Path(NUMBER_OF_SOCKETS).exists():
        pytest.skip("needs a kernel with a network")

    # Others use sockets, too, but not each time in the very same moment.
    looks = [_connect_many() for _ in range(20)]

    assert any(both == 200 and theirs >= 100 for both, theirs in looks), looks


def _connect_many() -> tuple[int, int]:
    """How many more there are with a hundred connections that nobody accepts, and when
    those who made them are gone."""
    told = open_number()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        before = number_of(told)
        mine = [socket.create_connection(server.getsockname()) for _ in range(100)]
        with_both = number_of(told)
        for each in mine:
            each.close()
        with_theirs = number_of(told)
    os.close(told)
    return with_both - before, with_theirs - before
