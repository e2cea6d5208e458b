"""Who is asked which pages it has come to, when, and what becomes of the answer."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host.footprint import MOST_ASKED, MOST_LOOKS, Footprint
from sandlot_sandbox.host.instance import State
from sandlot_sandbox.outcome import Ended
from tests.fakes.other_end import WAIT_S, OtherEnd

PAGES = b"pages " * 4_000
TOLD = frames.encode_answer(frames.FOOTPRINT, PAGES)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def footprint() -> Footprint:
    return Footprint(lambda: None)


async def _used(stack: ExitStack, footprint: Footprint) -> OtherEnd:
    other = OtherEnd(stack, footprint=footprint)
    other.is_ready()
    assert await other.serve() is Ended.ANSWERED
    return other


async def _unused(stack: ExitStack, footprint: Footprint) -> OtherEnd:
    other = OtherEnd(stack, footprint=footprint)
    other.is_ready()
    assert await other.instance.wait_ready(WAIT_S)
    return other


async def _is_ended(other: OtherEnd) -> None:
    async with asyncio.timeout(WAIT_S):
        while other.instance.state is State.IDLE:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert other.instance.state in (State.STOPPING, State.DEAD)


async def test_the_first_that_has_answered_is_asked_before_it_is_frozen(
    stack: ExitStack, footprint: Footprint
) -> None:
    first, second = [await _used(stack, footprint) for _ in range(2)]

    first.instance.idle.freeze_if_idle()
    second.instance.idle.freeze_if_idle()

    assert (first.instance.is_frozen, second.instance.is_frozen) == (False, True)
    assert await first.hears() == frames.LOOK
    assert second.has_nothing_to_hear()
    first.channel.send(TOLD[:20])
    await asyncio.sleep(0)
    first.channel.send(TOLD[20:])
    await first.becomes_frozen()
    assert footprint.pages == PAGES
    assert await first.serve() is Ended.ANSWERED
    first.instance.idle.freeze_if_idle()
    assert first.instance.is_frozen
    assert first.has_nothing_to_hear(), "once is enough"


async def test_an_event_that_comes_meanwhile_is_answered(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _used(stack, footprint)
    other.instance.idle.freeze_if_idle()

    assert await other.serve(after=frames.LOOK, first=TOLD) is Ended.ANSWERED

    assert footprint.pages == PAGES


async def test_who_does_not_tell_is_frozen_and_may_tell_later(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _used(stack, footprint)
    for _ in range(MOST_LOOKS + 1):
        other.instance.idle.freeze_if_idle()

    assert other.instance.is_frozen
    assert await other.serve(after=frames.LOOK, first=TOLD) is Ended.ANSWERED
    assert footprint.pages == PAGES


async def test_where_one_ends_before_it_has_told_the_next_is_asked(
    stack: ExitStack, footprint: Footprint
) -> None:
    first, second = [await _used(stack, footprint) for _ in range(2)]
    first.instance.idle.freeze_if_idle()
    first.instance._bury()  # noqa: SLF001 - as its zygote's end does

    second.instance.idle.freeze_if_idle()

    assert await second.hears() == frames.LOOK


async def test_where_nobody_tells_not_everybody_is_asked(
    stack: ExitStack, footprint: Footprint
) -> None:
    asked = []
    for _ in range(MOST_ASKED + 1):
        other = await _used(stack, footprint)
        other.instance.idle.freeze_if_idle()
        asked.append(not other.has_nothing_to_hear())
        other.instance._bury()  # noqa: SLF001 - as its zygote's end does

    assert asked == [True] * MOST_ASKED + [False]


async def test_nobody_is_asked_before_its_first_event(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _unused(stack, footprint)

    other.instance.idle.freeze_if_idle()

    assert other.instance.is_frozen
    assert other.has_nothing_to_hear()


async def test_what_one_did_for_an_isolation_key_is_told_to_nobody(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = OtherEnd(stack, footprint=footprint)
    other.is_ready()
    assert await other.serve(isolation_key="theirs") is Ended.ANSWERED

    other.instance.idle.freeze_if_idle()

    assert other.instance.is_frozen
    assert other.has_nothing_to_hear()


@pytest.mark.parametrize("is_asked", [False, True])
async def test_who_tells_unasked_or_twice_ends(
    stack: ExitStack, footprint: Footprint, *, is_asked: bool
) -> None:
    other = await _used(stack, footprint)
    if is_asked:
        other.instance.idle.freeze_if_idle()

    other.channel.send(TOLD * (1 + is_asked))

    await _is_ended(other)


async def test_more_than_a_piece_is_not_taken(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _used(stack, footprint)
    other.instance.idle.freeze_if_idle()
    too_much = bytes(frames.MAX_PIECE + 1)

    other.channel.send(frames.encode_answer(frames.FOOTPRINT, too_much)[:100])

    await _is_ended(other)
    assert footprint.pages == b""


async def test_what_stood_by_before_is_let_go_to_take_it(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _unused(stack, footprint)
    other.instance.idle.freeze_if_idle()

    footprint.pages = PAGES

    assert other.instance.idle.take_footprint(footprint)

    assert not other.instance.is_frozen
    assert other.thaws == 0, "its zygote sleeps on"
    assert await other.hears() == frames.encode_footprint(PAGES)
    for _ in range(MOST_LOOKS - 1):
        other.instance.idle.freeze_if_idle()
    assert not other.instance.is_frozen, "it has not said that it has it"
    other.channel.send(frames.encode_answer(frames.FOOTPRINT, b""))
    await other.becomes_frozen()
    assert footprint.pages == PAGES
    assert await other.serve() is Ended.ANSWERED
    assert not other.instance.idle.take_footprint(footprint), "it has its own by now"


async def test_who_does_not_take_it_is_frozen_and_may_later(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _unused(stack, footprint)
    assert other.instance.idle.take_footprint(footprint)
    for _ in range(MOST_LOOKS + 1):
        other.instance.idle.freeze_if_idle()

    assert other.instance.is_frozen
    has_taken = frames.encode_answer(frames.FOOTPRINT, b"")
    order = frames.encode_footprint(b"")
    assert await other.serve(after=order, first=has_taken) is Ended.ANSWERED


async def test_an_isolation_key_s_event_may_come_while_it_is_taken(
    stack: ExitStack, footprint: Footprint
) -> None:
    other = await _unused(stack, footprint)
    assert other.instance.idle.take_footprint(footprint)

    ended = await other.serve(
        after=frames.encode_footprint(b""),
        first=frames.encode_answer(frames.FOOTPRINT, b""),
        isolation_key="theirs",
    )

    assert ended is Ended.ANSWERED
