"""How much one instance may say before others are heard."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host import wire as module
from sandlot_sandbox.host.wire import FrameWire
from tests.fakes.waiting import eventually

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
