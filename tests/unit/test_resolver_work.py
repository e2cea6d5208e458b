"""A cell's resolver at work: whom it asks, how often, and whom it believes."""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from sandlot_sandbox.launcher import resolver as module
from sandlot_sandbox.launcher.resolver import (
    MAX_WAITING,
    PATIENCE_S,
    RATE_PER_S,
    Resolver,
)
from tests.fakes import dns
from tests.fakes.loop import Loop

PUBLIC = "93.184.216.34"
SERVERS = ["127.0.0.1", "127.0.0.2"]
REFUSED_KIND = 252
"""A transfer of a zone: answered by the resolver itself."""


def udp(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, port))
    made.setblocking(False)
    return made


class Stage:
    """A resolver between who asks and two nameservers, on a clock that a test moves."""

    def __init__(self, clock: Loop) -> None:
        self.clock = clock
        self.asker = udp()
        self.first = udp()
        port = self.first.getsockname()[1]
        self.second = udp(SERVERS[1], port)
        cell = udp()
        self.place = cell.getsockname()
        families = [(socket.AF_INET, address) for address in SERVERS]
        self.resolver = Resolver(cell, families, _reach, port=port)

    def ask(self, kind: int = dns.A) -> None:
        self.asker.sendto(dns.question("a.test", kind), self.place)
        self.resolver.work()

    def told(self) -> int:
        """How many answers there are by now."""
        return len(_all(self.asker))

    def close(self) -> None:
        self.resolver.close()
        for each in (self.asker, self.first, self.second):
            each.close()


def _reach(_: IPv4Address) -> bool:
    return True


def _all(of: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    found = []
    while True:
        try:
            found.append(of.recvfrom(4096))
        except BlockingIOError:
            return found


def _answer(question: bytes) -> bytes:
    return dns.reply(question, [dns.record(dns.A, dns.address(PUBLIC))])


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    clock = Loop()
    monkeypatch.setattr(module, "time", clock)
    # As the clock of the machine it is bound to its class when that is made.
    made = Stage(clock)
    made.resolver._filled_at = clock.now  # noqa: SLF001
    yield made
    made.close()


def test_a_nameserver_s_answer_is_told_to_who_asked(stage: Stage) -> None:
    stage.ask()
    [(question, us)] = _all(stage.first)
    assert stage.resolver.timeout_ms() == PATIENCE_S * 1_000

    stage.first.sendto(_answer(question), us)
    stage.resolver.work()

    [(answer, _)] = _all(stage.asker)
    assert dns.read(answer)[1] == [(dns.A, dns.address(PUBLIC))]
    assert stage.resolver.timeout_ms() is None
    assert _all(stage.second) == []


def test_who_does_not_know_the_question_s_number_is_not_believed(stage: Stage) -> None:
    stage.ask()
    [(question, us)] = _all(stage.first)
    forged = bytes([question[0] ^ 1]) + question[1:]

    stage.first.sendto(_answer(forged), us)
    stage.resolver.work()
    assert stage.told() == 0
    stage.first.sendto(_answer(question), us)
    stage.resolver.work()

    assert stage.told() == 1


def test_who_is_not_the_nameserver_is_not_heard(stage: Stage) -> None:
    stage.ask()
    [(question, us)] = _all(stage.first)

    stage.asker.sendto(_answer(question), us)
    stage.resolver.work()

    assert stage.told() == 0


def test_after_a_silent_nameserver_the_next_is_asked_and_then_it_has_failed(
    stage: Stage,
) -> None:
    stage.ask()
    stage.clock.pass_by(PATIENCE_S - 0.1)
    stage.resolver.work()
    assert _all(stage.second) == []

    stage.clock.pass_by(0.1)
    stage.resolver.work()
    assert len(_all(stage.second)) == 1
    assert stage.told() == 0

    stage.clock.pass_by(PATIENCE_S)
    stage.resolver.work()
    [(failure, _)] = _all(stage.asker)
    assert failure[3] & 0x0F == 2
    assert len(_all(stage.first)) == 1
    assert stage.resolver.timeout_ms() is None


def test_a_cell_asks_so_many_in_a_second_and_no_more(stage: Stage) -> None:
    for _ in range(RATE_PER_S + 5):
        stage.ask(REFUSED_KIND)
    assert stage.told() == RATE_PER_S

    stage.clock.pass_by(2.5 / RATE_PER_S)
    for _ in range(5):
        stage.ask(REFUSED_KIND)

    assert stage.told() == 2


def test_no_more_wait_than_may(stage: Stage) -> None:
    for _ in range(MAX_WAITING + 5):
        stage.ask()
    questions = _all(stage.first)
    assert len(questions) == MAX_WAITING

    question, us = questions[0]
    stage.first.sendto(_answer(question), us)
    stage.resolver.work()
    stage.ask()

    assert len(_all(stage.first)) == 1
