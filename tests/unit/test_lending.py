"""An instance that is lent: two ends of one, in one process here."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.host.invocation import OUT_OF_MEMORY
from sandlot_sandbox.host.lending import (
    BorrowedInstance,
    LendableInstance,
    duplicates,
)
from sandlot_sandbox.host.minder import Minder
from sandlot_sandbox.host.runtime_wire import RuntimeWire
from sandlot_sandbox.host.wire import FrameWire
from sandlot_sandbox.outcome import Ended, Ending

WAIT_S = 5.0
MEMORY_MB = 128


@dataclass
class Lending:
    """A lender's instance, the tenant's ends, and a borrower."""

    exits: list[int] = field(default_factory=list)
    losses: list[bool] = field(default_factory=list)
    thaws: int = 0
    verdict: str = ""

    def __post_init__(self) -> None:
        ours, self.channel = socket.socketpair()
        self.channel.setblocking(False)
        read, self.log = os.pipe2(os.O_CLOEXEC)
        # What cannot be frozen is ended as soon as it has been idle for a moment.
        self._brake, brake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.lent = LendableInstance(
            FrameWire(ours),
            read,
            hold=Hold({"freeze": brake, "tmp": os.open("/", os.O_PATH)}),
            minder=Minder(),
            memory_mb=MEMORY_MB,
            kill=self._kill,
            on_thaw=self._thaw,
            on_death=lambda _: None,
        )

    def _thaw(self) -> None:
        self.thaws += 1

    async def _kill(self) -> str:
        return self.verdict

    def note_exit(self, status: int) -> None:
        self.exits.append(status)

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        self.losses.append(with_launcher)

    def say(self, kind: int, payload: bytes = b"{}") -> None:
        self.channel.send(frames.encode_answer(kind, payload, peak_memory_kb=7))

    def close(self) -> None:
        self.channel.close()
        os.close(self.log)
        os.close(self._brake)

    async def invoke(self, instance: Instance, answer: bytes = b"{}") -> Ending:
        """An event, heard by the tenant, and its answer."""
        running = asyncio.ensure_future(
            instance.invoke(frames.EventHeader("r", 0, "arn"), b"{}", timeout_s=WAIT_S)
        )
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(WAIT_S):
            await loop.sock_recv(self.channel, 1 << 16)
            self.say(frames.ANSWER, answer)
            return await running

    def borrow(self) -> BorrowedInstance:
        lent = self.lent.lend(self)
        assert lent is not None
        loan, fds = lent
        return BorrowedInstance(
            loan,
            duplicates(fds),
            minder=Minder(),
            kill=self._kill,
            on_death=lambda _: None,
        )


@pytest.fixture
async def lending() -> AsyncIterator[Lending]:
    made = Lending()
    made.say(frames.READY)
    assert await made.lent.wait_ready(WAIT_S)
    await made.invoke(made.lent)
    made.thaws = 0
    yield made
    await made.lent.destroy()
    made.close()


async def test_a_borrower_runs_events_and_the_lender_has_it_back(
    lending: Lending,
) -> None:
    borrowed = lending.borrow()
    assert not lending.lent.is_usable

    ending = await lending.invoke(borrowed, b'"there"')
    os.write(lending.log, b"afterwards\n")
    printed = borrowed.give_back()
    assert printed is not None
    lending.lent.take_back(is_frozen=False, peak_memory_kb=9, printed=printed)
    again = await lending.invoke(lending.lent, b'"here"')

    assert ending.ended is again.ended is Ended.ANSWERED
    assert ending.payload == b'"there"'
    assert ending.init_s is None, "a lent one is warm"
    assert [text for _, text in again.printed] == [b"afterwards"]
    assert again.peak_memory_kb == 9
    assert lending.thaws == 1, "its zygote has to run"


async def test_what_is_printed_while_it_runs_is_the_borrower_s(
    lending: Lending,
) -> None:
    borrowed = lending.borrow()
    os.write(lending.log, b"in there\n")

    ending = await lending.invoke(borrowed)

    assert [text for _, text in ending.printed] == [b"in there"]
    assert borrowed.give_back() == ()


async def test_one_that_is_busy_or_has_said_something_is_not_lent(
    lending: Lending,
) -> None:
    os.write(lending.log, b"nobody has this yet\n")
    assert lending.lent.lend(lending) is None

    await lending.invoke(lending.lent)
    running = asyncio.ensure_future(
        lending.lent.invoke(frames.EventHeader("r", 0, "a"), b"{}", timeout_s=WAIT_S)
    )
    await asyncio.sleep(0)
    assert lending.lent.lend(lending) is None

    lending.say(frames.ANSWER)
    await running


async def test_a_borrower_is_told_of_an_exit_and_says_what_came_of_it(
    lending: Lending,
) -> None:
    borrowed = lending.borrow()
    running = asyncio.ensure_future(
        borrowed.invoke(frames.EventHeader("r", 0, "arn"), b"{}", timeout_s=WAIT_S)
    )
    await asyncio.sleep(0)

    lending.verdict = "memory"
    lending.lent.note_exit(signal.SIGKILL)
    assert lending.exits == [signal.SIGKILL]
    borrowed.note_exit(signal.SIGKILL)
    ending = await running

    assert ending.ended is Ended.SIGNALED
    assert ending.error_type == OUT_OF_MEMORY
    assert borrowed.give_back() is None


async def test_a_lent_one_leaves_its_tmp_as_one_at_work_does(lending: Lending) -> None:
    borrowed = lending.borrow()
    running = asyncio.ensure_future(
        borrowed.invoke(frames.EventHeader("r", 0, "arn"), b"{}", timeout_s=WAIT_S)
    )
    await asyncio.sleep(0)
    borrowed.note_exit(signal.SIGKILL)
    await running

    await lending.lent.destroy()

    assert (borrowed.leaves_tmp, lending.lent.leaves_tmp) == (True, True)


async def test_a_lent_one_that_broke_the_protocol_leaves_nothing(
    lending: Lending,
) -> None:
    borrowed = lending.borrow()
    running = asyncio.ensure_future(
        borrowed.invoke(frames.EventHeader("r", 0, "arn"), b"{}", timeout_s=WAIT_S)
    )
    await asyncio.sleep(0)
    lending.say(frames.READY)  # a second time
    assert (await running).ended is Ended.VIOLATION
    assert not borrowed.leaves_tmp

    lending.lent.leave_nothing()
    await lending.lent.destroy()

    assert not lending.lent.leaves_tmp


async def test_one_that_nobody_has_used_is_not_lent() -> None:
    made = Lending()
    made.say(frames.READY)
    assert await made.lent.wait_ready(WAIT_S)

    assert made.lent.lend(made) is None

    await made.lent.destroy()
    made.close()


async def test_a_lost_jail_ends_both_ends(lending: Lending) -> None:
    borrowed = lending.borrow()

    lending.lent.note_zygote_lost(with_launcher=False)
    borrowed.note_zygote_lost(with_launcher=False)

    assert lending.losses == [False]
    assert borrowed.give_back() is None
    assert not lending.lent.is_usable


async def test_what_nobody_asked_a_lent_one_for_ends_it_when_it_is_back(
    lending: Lending,
) -> None:
    borrowed = lending.borrow()
    assert borrowed.give_back() is not None
    lending.say(frames.ANSWER, b'"unasked"')

    lending.lent.take_back(is_frozen=False, peak_memory_kb=0)
    await asyncio.sleep(0)

    assert lending.lent.lend(lending) is None


async def test_a_program_is_never_lent(lending: Lending) -> None:
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    read, write = os.pipe2(os.O_CLOEXEC)
    program = LendableInstance(
        RuntimeWire(ours, listener),
        read,
        hold=Hold({"tmp": os.open("/", os.O_PATH)}),
        minder=Minder(),
        memory_mb=MEMORY_MB,
        kill=_killed,
        on_thaw=lambda: None,
        on_death=lambda _: None,
    )
    program.state = State.IDLE
    program._account.is_unused = False  # noqa: SLF001 - for want of a program

    assert program.lend(lending) is None
    assert program.is_usable

    await program.destroy()
    theirs.close()
    os.close(write)


async def _killed() -> str:
    return ""


async def test_a_lent_wire_is_not_read_though_it_is_told_to_go_on() -> None:
    ours, theirs = socket.socketpair()
    wire = FrameWire(ours)
    hears = _Heard()
    wire.open(hears)
    fd = wire.lend()
    assert fd == ours.fileno()

    theirs.send(frames.encode_answer(frames.ANSWER, b"{}", peak_memory_kb=1))
    wire.pause()
    wire.resume()
    wire.read()
    assert not hears.answers, "the borrower reads it"

    wire.take_back()
    wire.read()
    assert [answer.kind for answer in hears.answers] == [frames.ANSWER]
    wire.close()
    theirs.close()


class _Heard:
    expects_answer = True

    def __init__(self) -> None:
        self.answers: list[frames.Answer] = []

    def hear(self, answer: frames.Answer) -> None:
        self.answers.append(answer)

    def note_violation(self, violation: frames.Violation) -> None:
        raise violation

    def note_crash(self, error_type: str, why: str = "") -> None:
        raise AssertionError(error_type)

    def note_settled(self) -> None:
        raise AssertionError("clones have no extensions")

    def note_runtime_ended(self, status: int) -> None:
        raise AssertionError("clones have no program beside them")

    def note_hung_up(self) -> None:
        raise AssertionError("nobody hung up")
