"""How much one instance may say before others are heard."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host import wire as module
from sandlot_sandbox.host.extensions_api import Shutdown
from sandlot_sandbox.host.wire import FrameWire
from tests.fakes.waiting import DEADLINE_S, eventually

COUNT = 10
AT_ONCE = 4


class Ears:
    """Hears all, and is told of the end."""

    expects_answer = True

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.is_over = False
        self.violation: frames.Violation | None = None

    def hear(self, answer: frames.Answer) -> None:
        self.heard.append(answer.payload)

    def note_hung_up(self) -> None:
        self.is_over = True

    def note_violation(self, violation: frames.Violation) -> None:
        self.violation = violation

    def note_settled(self) -> None: ...

    def note_runtime_ended(self, status: int) -> None: ...

    def note_crash(self, error_type: str, why: str = "") -> None: ...


class Talk:
    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.ears = Ears()
        self.wire = FrameWire(ours)
        self.wire.open(self.ears)

    def say(self, count: int = COUNT) -> list[bytes]:
        pieces = [b"%d" % number for number in range(count)]
        said = (frames.encode_answer(frames.STREAM_PIECE, piece) for piece in pieces)
        self.theirs.sendall(b"".join(said))
        return pieces

    async def hears(self, count: int) -> None:
        async def are_heard() -> bool:
            return len(self.ears.heard) >= count

        await eventually(are_heard)


@pytest.fixture
async def talk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Talk]:
    monkeypatch.setattr(module, "MAX_AT_ONCE", AT_ONCE)
    made = Talk()
    yield made
    made.wire.close()
    made.theirs.close()


async def test_who_says_much_at_once_has_a_break_and_is_heard_to_the_end(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks: list[int] = []
    rest = talk.wire._rest_a_while  # noqa: SLF001

    def rest_a_while(_: FrameWire) -> None:
        breaks.append(len(talk.ears.heard))
        rest()

    monkeypatch.setattr(FrameWire, "_rest_a_while", rest_a_while)

    said = talk.say()
    talk.theirs.shutdown(socket.SHUT_WR)

    async def is_over() -> bool:
        return talk.ears.is_over

    await eventually(is_over)
    assert talk.ears.heard == said
    assert breaks == [AT_ONCE, 2 * AT_ONCE]


async def test_who_wants_to_have_heard_all_has(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 3_600.0)
    said = talk.say()
    await talk.hears(AT_ONCE)
    assert len(talk.ears.heard) == AT_ONCE
    assert talk.wire.lend() is None, "something is half said"

    talk.wire.read()

    assert talk.ears.heard == said
    more = talk.say(1)
    await talk.hears(COUNT + 1)
    assert talk.ears.heard == said + more


async def test_a_break_is_no_way_past_a_pause(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = talk.say()
    await talk.hears(AT_ONCE)
    talk.wire.pause()
    await talk.hears(COUNT)

    more = talk.say(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert talk.ears.heard == said

    talk.wire.resume()
    await talk.hears(COUNT + 1)
    assert talk.ears.heard == said + more


async def test_what_is_wrong_behind_a_break_is_found(talk: Talk) -> None:
    talk.say()
    talk.theirs.sendall(b"\xff" * 64)

    async def is_found() -> bool:
        return talk.ears.violation is not None

    await eventually(is_found)
    assert len(talk.ears.heard) == COUNT


LARGE = b"a" * 4_000_000


async def test_what_does_not_fit_is_sent_later_and_in_its_order(talk: Talk) -> None:
    frames_ = (LARGE, b"b" * 10, b"c")
    for frame in frames_:
        talk.wire.send_bytes(frame)
    assert talk.wire.behind > 11
    assert not talk.wire.is_quiet
    assert not talk.wire.shed()
    assert not talk.wire.look()

    talk.theirs.setblocking(False)
    loop, taken = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(DEADLINE_S):
        while len(taken) < len(LARGE) + 11:
            taken += await loop.sock_recv(talk.theirs, 1 << 20)

    assert taken == b"".join(frames_)
    assert talk.wire.behind == 0
    assert talk.wire.is_quiet
    assert not loop.remove_writer(talk.wire._channel)  # noqa: SLF001


async def test_who_hangs_up_is_sent_no_more_and_harms_nobody(talk: Talk) -> None:
    talk.wire.send_bytes(LARGE)
    talk.theirs.close()

    async def has_given_up() -> bool:
        return talk.wire.behind == 0 and talk.ears.is_over

    await eventually(has_given_up)
    talk.wire.send_bytes(b"a")

    assert talk.wire.behind == 0


async def test_who_is_quiet_is_told_to_shed_and_to_look(talk: Talk) -> None:
    assert talk.wire.shed()
    assert talk.theirs.recv(99) == frames.SHED
    assert talk.wire.look()
    assert talk.theirs.recv(99) == frames.LOOK


async def test_what_is_lent_is_left_alone_until_it_is_back(talk: Talk) -> None:
    fd = talk.wire.lend()
    said = talk.say(2)

    for _ in range(20):
        await asyncio.sleep(0)
    talk.wire.read()
    assert fd == talk.wire._channel.fileno()  # noqa: SLF001
    assert talk.ears.heard == []
    assert not talk.wire.shed()
    assert not talk.wire.look()

    talk.wire.take_back()
    await talk.hears(2)
    assert talk.ears.heard == said
    assert talk.wire.shed()


async def test_who_said_what_is_wrong_is_heard_no_more_whatever_happens(
    talk: Talk,
) -> None:
    talk.theirs.sendall(b"\xff" * 64)

    async def is_found() -> bool:
        return talk.ears.violation is not None

    await eventually(is_found)
    talk.say()
    talk.wire.pause()
    talk.wire.resume()
    assert talk.wire.lend() is None
    talk.wire.take_back()
    talk.wire.read()
    for _ in range(20):
        await asyncio.sleep(0)

    assert talk.ears.heard == []
    assert not talk.ears.is_over


async def test_a_handler_has_no_runtime_beside_it_to_end(talk: Talk) -> None:
    assert not talk.wire.end_runtime(gently=True)
    assert not talk.wire.shut_down(Shutdown.SPINDOWN, 0)
    assert talk.wire.is_quiet
