"""What a buffer does at its bounds."""

import pytest

from sandlot_engine.store import buffer
from sandlot_engine.store.buffer import RecordBuffer
from tests.fakes.things import line, record


def test_far_behind_a_log_is_dropped_and_a_record_never_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffer, "MAX_BEHIND", 2)
    waiting = RecordBuffer()

    for _ in range(4):
        waiting.append(record(), [line(b"text")])

    batch = waiting.take()
    assert len(batch.records) == 4
    assert len(batch.lines) == 2
    assert waiting.lines_dropped == 2


@pytest.mark.parametrize("bound", ["MAX_LOG_BYTES_BEHIND", "MAX_LINES_BEHIND"])
def test_log_text_that_waits_is_bounded(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, bound, 3)
    waiting = RecordBuffer()

    for _ in range(5):
        waiting.append_log(("1", "resize"), [line(b"x")])

    assert len(waiting.take().lines) == 3
    assert waiting.lines_dropped == 2


def test_what_could_not_be_written_goes_before_what_came_later() -> None:
    waiting = RecordBuffer()
    waiting.append(record("first"), [])
    batch = waiting.take()
    waiting.append(record("second"), [])

    waiting.put_back(batch)

    assert [each.request_id for each in waiting.take().records] == ["first", "second"]
