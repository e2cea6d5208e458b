"""What is kept of a fork, to have a courier forked into the same cell; no jail."""

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host.courier import CourierLink, WayIn
from sandlot_sandbox.host.starter_link import MAX_BEHIND
from tests.descriptors import open_files


class Cell:
    """Descriptors of a fork, and what was done with those of a way in."""

    def __init__(self) -> None:
        self.fork = [os.open("/dev/null", os.O_RDONLY) for _ in range(6)]
        self.ordered: list[int] = []
        self.given_back = 0

    def way_in(self) -> WayIn:
        return WayIn(self.fork, order=self._order, on_close=self._forget)

    def _order(self, descriptors: Sequence[int]) -> None:
        self.ordered += descriptors

    def _forget(self, files: int) -> None:
        self.given_back += files

    def close(self) -> None:
        for fd in (*self.fork, *self.ordered):
            os.close(fd)


@pytest.fixture
def cell() -> Iterator[Cell]:
    cell = Cell()
    yield cell
    cell.close()


def test_what_goes_with_a_courier_is_what_went_with_the_fork(cell: Cell) -> None:
    way_in = cell.way_in()
    assert way_in.files == len(cell.fork) - 1
    channel = way_in.call()
    assert channel is not None
    with channel:
        # In place of the fork's channel there is one of its own.
        os.write(cell.ordered[3], b"hello")
        assert channel.recv(9) == b"hello"
    rest = cell.ordered[:3] + cell.ordered[4:]
    assert not set(rest) & set(cell.fork)
    null = Path("/dev/null").stat().st_rdev
    assert {os.fstat(fd).st_rdev for fd in rest} == {null}
    assert cell.given_back == len(rest)
    # There is one.
    assert way_in.call() is None


def test_a_way_that_nobody_took_is_given_back_once(cell: Cell) -> None:
    way_in = cell.way_in()
    before = open_files()
    way_in.close()
    way_in.close()
    assert open_files() == before - 5
    assert cell.given_back == 5
    assert way_in.call() is None
    assert not cell.ordered


def test_where_no_more_files_may_be_open_there_is_no_courier(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = iter(range(3))
    real = os.dup

    def dup(fd: int) -> int:
        if next(room, None) is None:
            raise OSError(24, "Too many open files")
        return real(fd)

    monkeypatch.setattr("sandlot_sandbox.host.courier.os.dup", dup)
    before = open_files()
    way_in = cell.way_in()
    assert way_in.files == 0
    assert way_in.call() is None
    assert open_files() == before


class Hears:
    """Whom a link tells of trouble."""

    expects_answer = True

    def __init__(self) -> None:
        self.violations: list[str] = []

    def hear(self, answer: frames.Answer) -> None: ...

    def note_violation(self, violation: frames.Violation) -> None:
        self.violations.append(str(violation))

    def note_crash(self, error_type: str, why: str = "") -> None: ...

    def note_settled(self) -> None: ...

    def note_runtime_ended(self, status: int) -> None: ...

    def note_hung_up(self) -> None: ...


async def test_a_courier_may_say_what_it_delivered_and_nothing_else() -> None:
    ours, theirs = socket.socketpair()
    hears = Hears()
    told: list[tuple[int, bool]] = []

    def note(number: int, *, is_delivered: bool) -> None:
        told.append((number, is_delivered))

    link = CourierLink(ours, hears, note)
    link.order(frames.DELIVER, "7 HTTP 80 POST /", b"[]")
    assert frames.read_order(theirs) == (frames.DELIVER, "7 HTTP 80 POST /", b"[]")
    for said in (b"+7", b"-8", b"+x"):
        theirs.sendall(frames.encode_answer(frames.DELIVERED, said))
    link._wire.read()  # noqa: SLF001 - the loop would
    assert (told, hears.violations) == ([(7, True), (8, False)], [])
    theirs.sendall(frames.encode_answer(frames.READY, b""))
    link._wire.read()  # noqa: SLF001
    assert len(hears.violations) == 1
    link.close()
    theirs.close()


async def test_orders_that_nobody_takes_end_the_instance() -> None:
    ours, theirs = socket.socketpair()
    hears = Hears()
    link = CourierLink(ours, hears, lambda number, *, is_delivered: None)
    body = b"x" * frames.MAX_PIECE
    for _ in range(3 * MAX_BEHIND // len(body)):
        # As if it had said each time that it has delivered the last one.
        link.order(frames.DELIVER, "7 HTTP 80 POST /", body)
    assert "orders that nobody takes" in hears.violations
    assert link._wire.behind <= MAX_BEHIND + 2 * len(body)  # noqa: SLF001
    link.close()
    theirs.close()
