"""What a function's answer means for the messages of its batch."""

import gc
import json
from typing import Any

import pytest

from sandlot_engine.polling.answers import FAILED, MALFORMED, OK, judge
from sandlot_engine.polling.records import Message

BATCH = tuple(
    Message(id=each, handle=f"h-{each}", record=b"{}", received=0.0, visible=30.0)
    for each in "abc"
)


def failed(*ids: Any) -> bytes:
    items = [{"itemIdentifier": each} for each in ids]
    return json.dumps({"batchItemFailures": items}).encode()


def left_of(payload: bytes, *, reports_items: bool = True) -> str:
    verdict = judge(BATCH, is_ok=True, payload=payload, reports_items=reports_items)
    assert set(verdict.done) | set(verdict.left) == set(BATCH)
    return "".join(message.id for message in verdict.left)


@pytest.mark.parametrize(
    "payload",
    [
        *(b"null", b"{}", b'""', b"[]", b""),
        *(b'{"batchItemFailures": []}', b'{"batchItemFailures": null}'),
        b'{"somethingElse": 1}',
    ],
)
def test_an_answer_of_no_failures_is_a_success(payload: bytes) -> None:
    assert left_of(payload) == ""


def test_what_is_not_looked_at_of_an_answer_is_not_built() -> None:
    """For two million lists Python takes a third of a second, for everybody."""
    lists = b"[" + b"[]," * 1_000_000 + b"1]"
    collected = gc.get_stats()[0]["collections"]

    assert left_of(b'{"more": %s, %s' % (lists, failed("b")[1:])) == "b"
    assert left_of(lists) == "abc"
    assert left_of(b'{"batchItemFailures": %s}' % lists) == "abc"
    assert gc.get_stats()[0]["collections"] - collected < 10


def test_those_that_failed_are_left_and_the_others_deleted() -> None:
    verdict = judge(BATCH, is_ok=True, payload=failed("b"), reports_items=True)

    assert [message.id for message in verdict.left] == ["b"]
    assert [message.id for message in verdict.done] == ["a", "c"]
    assert verdict.result == OK


def test_a_batch_whose_messages_all_failed_has_failed() -> None:
    verdict = judge(BATCH, is_ok=True, payload=failed(*"abc"), reports_items=True)

    assert verdict.left == BATCH
    assert verdict.result == FAILED


@pytest.mark.parametrize(
    "payload",
    [
        *(b'"done"', b"7", b"true", b'["a"]', b"{", b"[" * 100_000),
        pytest.param(b'"\xff"', id="not UTF-8"),
        *(b'{"batchItemFailures": "a"}', b'{"batchItemFailures": ["a"]}'),
        b'{"batchItemFailures": [{"id": "a"}]}',
        *(failed(""), failed(None), failed(1), failed("unknown"), failed("a", "")),
    ],
    ids=lambda payload: payload[:40].decode(),
)
def test_a_malformed_answer_is_a_failure_of_the_whole_batch(payload: bytes) -> None:
    verdict = judge(BATCH, is_ok=True, payload=payload, reports_items=True)

    assert (verdict.left, verdict.done) == (BATCH, ())
    assert verdict.result == MALFORMED


def test_an_answer_is_not_looked_at_where_that_was_not_asked_for() -> None:
    assert left_of(failed("a"), reports_items=False) == ""


@pytest.mark.parametrize("reports_items", [True, False])
def test_a_function_that_fails_has_done_nothing(*, reports_items: bool) -> None:
    verdict = judge(BATCH, is_ok=False, payload=b"{}", reports_items=reports_items)

    assert (verdict.left, verdict.done, verdict.result) == (BATCH, (), FAILED)
