"""The one parser of what tenants send: round trips, and anything at all."""

import itertools
import json
import socket
import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sandlot_sandbox import frames

KINDS = st.sampled_from([frames.READY, frames.ANSWER, frames.ERROR, frames.INIT_ERROR])
NOTE_KINDS = st.sampled_from(
    [
        *(frames.ZYGOTE_READY, frames.ZYGOTE_UNSAFE),
        *(frames.INSTANCE_EXITED, frames.FORK_FAILED),
    ]
)
MOST_OF_AN_ANSWER = 16 + frames.MAX_ERROR_TYPE + frames.MAX_PAYLOAD


def _fed(*parts: bytes) -> frames.AnswerReader:
    reader = frames.AnswerReader()
    for part in parts:
        reader.feed(part)
    return reader


def _header(kind: int, type_length: int, payload_length: int) -> bytes:
    return struct.pack("!BxHIQ", kind, type_length, payload_length, 0)


@given(KINDS, st.binary(max_size=2000), st.text(max_size=80), st.integers(0, 2**40))
def test_an_answer_arrives_as_it_was_sent(
    kind: int, payload: bytes, error_type: str, peak: int
) -> None:
    sent = frames.encode_answer(
        kind, payload, error_type=error_type, peak_memory_kb=peak
    )

    reader = _fed(sent)
    answer = reader.take()

    assert answer is not None
    assert (answer.kind, answer.payload, answer.peak_memory_kb) == (kind, payload, peak)
    assert (
        error_type.encode("utf-8", "replace")
        .decode()
        .startswith(answer.error_type.rstrip("�"))
    )
    assert reader.is_empty


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=6))
def test_it_does_not_matter_how_an_answer_is_cut(
    payload: bytes, cuts: list[int]
) -> None:
    sent = frames.encode_answer(frames.ANSWER, payload, error_type="E")
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    reader = frames.AnswerReader()

    got = []
    for start, end in itertools.pairwise(edges):
        reader.feed(sent[start:end])
        got += [answer] if (answer := reader.take()) else []

    assert [answer.payload for answer in got] == [payload]


@given(st.lists(st.binary(max_size=60), max_size=20))
@example([b"\x02" + b"\xff" * 20])
@example([_header(frames.ANSWER, 0, frames.MAX_PAYLOAD + 1)])
@example([_header(frames.ERROR, 0xFFFF, 0xFFFFFFFF)])
def test_anything_else_is_a_violation_or_not_yet_whole(parts: list[bytes]) -> None:
    reader = frames.AnswerReader()

    for part in parts:
        reader.feed(part)
        try:
            while (answer := reader.take()) is not None:
                assert isinstance(answer, frames.Answer)
        except frames.Violation:
            return


@pytest.mark.parametrize(
    ("header", "violation"),
    [
        (_header(0, 0, 0), frames.Violation),
        (_header(99, 0, 0), frames.Violation),
        (_header(frames.EXTENSIONS, 0, frames.MAX_PIECE + 1), frames.Violation),
        (_header(frames.STREAM_PIECE, 0, frames.MAX_PIECE + 1), frames.Violation),
        (_header(frames.STREAM_PIECE, 0, 0), frames.Violation),
        (_header(255, 0, 0), frames.Violation),
        (_header(frames.ERROR, frames.MAX_ERROR_TYPE + 1, 0), frames.Violation),
        (_header(frames.ANSWER, 0, frames.MAX_PAYLOAD + 1), frames.Oversize),
        (_header(frames.ANSWER, 0, 0xFFFFFFFF), frames.Oversize),
    ],
)
def test_a_bad_header_is_refused_before_its_body_comes(
    header: bytes, violation: type[Exception]
) -> None:
    with pytest.raises(violation):
        _fed(header).take()


def test_the_largest_answer_is_taken_and_nothing_is_kept_of_it() -> None:
    sent = frames.encode_answer(frames.ANSWER, b"x" * frames.MAX_PAYLOAD)
    reader = _fed(sent)

    answer = reader.take()

    assert answer is not None
    assert len(answer.payload) == frames.MAX_PAYLOAD
    assert reader.is_empty


@pytest.mark.parametrize("kind", [frames.EXTENSIONS, frames.STREAM_PIECE])
def test_the_largest_piece_is_taken(kind: int) -> None:
    answer = _fed(frames.encode_answer(kind, b"x" * frames.MAX_PIECE)).take()

    assert answer is not None
    assert len(answer.payload) == frames.MAX_PIECE


def test_an_error_type_is_cut_by_its_sender() -> None:
    answer = _fed(frames.encode_answer(frames.ERROR, b"{}", "E" * 300)).take()

    assert answer is not None
    assert answer.error_type == "E" * frames.MAX_ERROR_TYPE
    assert answer.payload == b"{}"


def test_a_reader_never_wants_more_than_one_answer() -> None:
    longest = _header(
        frames.ANSWER, frames.MAX_ERROR_TYPE, frames.MAX_PAYLOAD
    ) + b"x" * (frames.MAX_ERROR_TYPE + frames.MAX_PAYLOAD)

    assert len(longest) == MOST_OF_AN_ANSWER
    assert _fed(longest[:-1]).take() is None
    assert _fed(longest).take() is not None


@given(
    NOTE_KINDS, st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.text()
)
def test_a_note_arrives_as_it_was_sent(
    kind: int, instance: int, status: int, text: str
) -> None:
    note = frames.decode_note(
        frames.encode_note(kind, instance=instance, status=status, text=text)
    )

    assert (note.kind, note.instance, note.status) == (kind, instance, status)
    assert note.text == frames.shown(text.encode("utf-8", "replace").decode())


@given(st.text(max_size=2 * frames.MAX_SHOWN))
@example("\x1b]0;pwn\x07\nsandlot: ERROR forged" * 300)
def test_a_note_s_text_is_one_line_that_no_terminal_obeys(text: str) -> None:
    note = frames.decode_note(frames.encode_note(frames.FORK_FAILED, text=text))

    assert note.text.isprintable()
    assert len(note.text) <= frames.MAX_SHOWN


@given(st.binary(max_size=frames.MAX_NOTE_TEXT + 100))
@example(b"")
@example(b"\x01" * (frames.MAX_NOTE_TEXT + 13))
def test_any_other_note_is_a_violation(datagram: bytes) -> None:
    try:
        note = frames.decode_note(datagram)
    except frames.Violation:
        return
    assert len(note.text) <= frames.MAX_NOTE_TEXT


@given(st.sampled_from([frames.BUILT, frames.REFUSED]), st.text(max_size=80))
def test_a_builder_s_note_arrives_as_it_was_sent(kind: int, text: str) -> None:
    sent = frames.encode_note(kind, instance=50_000, status=262_144_000, text=text)

    note = frames.decode_note(sent, frames.BUILDER_NOTES)

    assert (note.kind, note.instance, note.status) == (kind, 50_000, 262_144_000)
    assert note.text == frames.shown(text.encode("utf-8", "replace").decode())


@given(st.binary(max_size=frames.MAX_NOTE_TEXT + 100))
@example(b"")
@example(b"\x05" * 11)
@example(b"\x06" * (frames.MAX_NOTE_TEXT + 13))
def test_any_other_note_of_a_builder_is_a_violation(datagram: bytes) -> None:
    try:
        note = frames.decode_note(datagram, frames.BUILDER_NOTES)
    except frames.Violation:
        return
    assert note.kind in (frames.BUILT, frames.REFUSED)
    assert len(note.text) <= frames.MAX_NOTE_TEXT


@given(st.sampled_from([frames.BUILT, frames.REFUSED]), NOTE_KINDS)
def test_builders_and_zygotes_cannot_say_what_is_the_other_s(
    builders: int, zygotes: int
) -> None:
    with pytest.raises(frames.Violation):
        frames.decode_note(frames.encode_note(builders))
    with pytest.raises(frames.Violation):
        frames.decode_note(frames.encode_note(zygotes), frames.BUILDER_NOTES)


def test_a_note_s_text_is_cut_by_its_sender() -> None:
    sent = frames.encode_note(frames.ZYGOTE_UNSAFE, text="ü" * frames.MAX_NOTE_TEXT)

    assert len(frames.decode_note(sent).text) <= frames.MAX_NOTE_TEXT


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    *(TEXTS, st.integers(0, 2**64 - 1), TEXTS, TEXTS, TEXTS, TEXTS, st.binary()),
    st.integers(1, 64),
)
def test_an_event_arrives_as_it_was_sent(
    request_id: str,
    deadline_ms: int,
    arn: str,
    context: str,
    trace: str,
    tenant: str,
    payload: bytes,
    begun: int,
) -> None:
    sent = frames.EventHeader(request_id, deadline_ms, arn, context, trace, tenant)
    event = frames.encode_event(sent, payload)
    assume(event != frames.SHED)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(event)
        arrived = frames.read_event(theirs, theirs.recv(begun))

    assert arrived is not None
    for name in frames.EventHeader.__slots__:
        assert getattr(arrived[0], name) == getattr(sent, name)
    assert arrived[1] == payload


def test_an_event_that_is_cut_off_is_no_event() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            header = frames.EventHeader("id", 1, "arn")
            ours.sendall(frames.encode_event(header, b"payload")[:-1])

        assert frames.read_event(theirs, theirs.recv(1)) is None


@pytest.mark.parametrize(
    ("context", "payload"),
    [("x" * (frames.MAX_EVENT_TEXT + 1), b""), ("", b"x" * (frames.MAX_EVENT + 1))],
)
def test_an_event_over_its_limit_is_not_sent(context: str, payload: bytes) -> None:
    header = frames.EventHeader("id", 1, "arn", context)

    with pytest.raises(ValueError, match="an event of"):
        frames.encode_event(header, payload)


@given(
    st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.integers(0, 2**16 - 1)
)
def test_a_fork_note_arrives_as_it_was_sent(
    instance: int, is_ahead: bool, is_kept: bool, port: int
) -> None:
    note = frames.encode_fork(instance, is_ahead=is_ahead, is_kept=is_kept, port=port)

    task = (frames.FORK, instance, is_ahead, is_kept, port)
    assert frames.decode_task(note) == task
    told = frames.decode_task(frames.encode_terminate(instance))
    assert told[:2] == (frames.TERMINATE, instance)


@given(st.binary(max_size=20))
def test_any_other_fork_note_is_a_violation(note: bytes) -> None:
    try:
        kind, instance, is_ahead, is_kept, port = frames.decode_task(note)
    except frames.Violation:
        return
    told = frames.encode_fork(instance, is_ahead=is_ahead, is_kept=is_kept, port=port)
    assert kind == note[:1]
    assert told[3:] == note[3:]


def test_settings_arrive_as_they_were_sent() -> None:
    settings: dict[str, object] = {"handler": "app.handler", "environment": {"Ä": "ö"}}

    assert frames.decode_configure(frames.encode_configure(settings)) == settings
    assert json.dumps(settings)


def test_the_first_note_must_be_the_settings() -> None:
    with pytest.raises(frames.Violation):
        frames.decode_configure(frames.encode_fork(1))


def test_settings_that_fit_into_no_note_are_not_sent() -> None:
    room = frames.MAX_NOTE - len(frames.encode_configure({"handler": ""}))
    largest = frames.encode_configure({"handler": "x" * room})

    assert len(largest) == frames.MAX_NOTE
    with pytest.raises(ValueError, match=f"settings of {frames.MAX_NOTE + 1} bytes"):
        frames.encode_configure({"handler": "x" * (room + 1)})


# --- orders to a starter ----------------------------------------------------------


def _order(sent: bytes) -> tuple[bytes, str, bytes] | None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        return frames.read_order(theirs)


def test_an_order_arrives_as_it_was_sent() -> None:
    sent = frames.encode_order(frames.DELIVER, "7 HTTP 80 POST /ä", b"[]")

    assert _order(sent) == (frames.DELIVER, "7 HTTP 80 POST /ä", b"[]")
    assert {_order(sent[:size]) for size in range(len(sent))} == {None}


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("!cxHI", b"?", 0, 0),
        struct.pack("!cxHI", frames.DELIVER, 0, frames.MAX_PAYLOAD + 1),
    ],
)
def test_any_other_order_is_a_violation_before_its_body_comes(head: bytes) -> None:
    with pytest.raises(frames.Violation, match="an order of kind"):
        _order(head)
