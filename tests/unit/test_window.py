"""How many fork notes are on their way to a zygote that has not read them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox.host import window as module
from sandlot_sandbox.host.mail import Mail
from sandlot_sandbox.host.window import MAX_UNREAD, Window

WAIT_S = 5.0


class Zygote:
    """The other end of a mail, which reads when a test says so."""

    def __init__(self) -> None:
        ours, self.channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.stuck = asyncio.Event()
        self.mail = Mail(
            ours,
            max_size=16,
            max_descriptors=0,
            on_message=lambda *_: None,
            on_close=lambda: None,
        )
        self.window = Window(self.mail, on_stuck=self.stuck.set)
        self.forks: list[asyncio.Task[None]] = []

    async def fork(self) -> None:
        await self.window.enter()
        self.mail.send(b"fork")
        self.window.note_sent()

    def burst(self, count: int) -> None:
        self.forks += [asyncio.create_task(self.fork()) for _ in range(count)]

    def read_all(self) -> int:
        count = 0
        while True:
            try:
                self.channel.recv(16)
            except BlockingIOError:
                return count
            count += 1

    async def finished(self) -> None:
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*self.forks)

    def close(self) -> None:
        self.window.close()
        self.mail.close()
        self.channel.close()


@pytest_asyncio.fixture
async def zygote() -> AsyncIterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


async def until_idle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_so_many_are_unread_and_all_go_through(
    zygote: Zygote,
) -> None:
    zygote.burst(3 * MAX_UNREAD)
    await until_idle()
    read = [zygote.read_all()]

    async with asyncio.timeout(WAIT_S):
        while sum(read) < 3 * MAX_UNREAD:
            await asyncio.sleep(0)
            read.append(zygote.read_all())
    await zygote.finished()

    assert read[0] == MAX_UNREAD
    assert max(read) <= MAX_UNREAD


async def test_who_entered_and_sends_nothing_makes_room(zygote: Zygote) -> None:
    for _ in range(MAX_UNREAD):
        await zygote.window.enter()
    zygote.burst(1)
    await until_idle()
    assert not zygote.forks[0].done()

    zygote.window.leave()

    await zygote.finished()


async def test_who_gives_up_while_waiting_takes_no_place(zygote: Zygote) -> None:
    zygote.burst(MAX_UNREAD + 2)
    await until_idle()
    zygote.forks.pop(MAX_UNREAD).cancel()
    await until_idle()

    zygote.read_all()

    await zygote.finished()


async def test_a_zygote_that_reads_nothing_is_told_of(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_S", 0.02)
    zygote.burst(MAX_UNREAD + 1)

    async with asyncio.timeout(WAIT_S):
        await zygote.stuck.wait()


class Clock:
    """A loop's, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now


async def test_one_that_reads_slowly_is_not(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(zygote.mail, "_loop", clock)
    zygote.burst(2 * MAX_UNREAD)
    await until_idle()

    # Never all of it, and for longer than one may read nothing.
    for _ in range(10):
        clock.now += module.STUCK_S * 0.9
        zygote.channel.recv(16)
        async with asyncio.timeout(WAIT_S):
            while zygote.mail._progress_at != clock.now:  # noqa: ASYNC110, SLF001
                await asyncio.sleep(0)
        assert zygote.mail.has_unread
    assert not zygote.stuck.is_set()


async def test_when_it_is_gone_nobody_waits_any_more(zygote: Zygote) -> None:
    zygote.burst(2 * MAX_UNREAD)
    await until_idle()

    zygote.window.close()

    await zygote.finished()
