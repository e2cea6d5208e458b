"""What becomes of an event, by AWS's rules."""

import gc
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sandlot_engine.errors import Internal, NotFound, Throttled
from sandlot_engine.events import lineage, verdicts
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.model.event import (
    MAX_ATTEMPTS_KEPT,
    AttemptStatus,
    Condition,
    DeliveryKind,
    Event,
    EventState,
)
from sandlot_engine.model.invocation import Outcome, Report, Status
from tests.fakes.things import NOON

THROTTLED = Throttled("no room", reason="r", limit=1, retry_after_s=1)
ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
FAILURE = b'{"errorMessage":"boom","errorType":"ValueError"}'


def event(**fields: Any) -> Event:
    return Event(
        **{
            "position": 7,
            "request_id": "r",
            "tenant_id": "1",
            "function": "f",
            "size": 2,
            "state": EventState.RUNNING,
            "accepted": NOON,
            "due": NOON,
            **fields,
        }
    )


def outcome(status: Status = Status.ERROR, payload: bytes = FAILURE) -> Outcome:
    report = Report(
        duration_ms=1,
        init_ms=None,
        wait_ms=0,
        billed_ms=1,
        memory_mb=128,
        max_memory_used_mb=30,
    )
    return Outcome(
        request_id="r",
        status=status,
        payload=payload,
        executed_version="$LATEST",
        report=report,
        error_type="" if status is Status.OK else "ValueError",
    )


def at(seconds: float) -> Any:
    return NOON + timedelta(seconds=seconds)


def failed(given: Event, *, now_s: float, **settings: Any) -> Event:
    return verdicts.after_run(
        given, outcome(), Settings(**settings), started=at(now_s), now=at(now_s)
    )


def test_a_function_that_fails_is_tried_again_after_one_minute_and_then_two() -> None:
    first = failed(event(), now_s=1)
    second = failed(first, now_s=61)
    third = failed(second, now_s=181)

    assert (first.state, first.due) == (EventState.QUEUED, at(61))
    assert (second.state, second.due) == (EventState.QUEUED, at(181))
    assert (third.condition, third.runs) == (Condition.RETRIES_EXHAUSTED, 3)
    assert [each.error for each in third.attempts] == ["boom"] * 3


@pytest.mark.parametrize("retries", [0, 1])
def test_it_is_tried_as_often_as_its_owner_says(retries: int) -> None:
    given = event()
    for _ in range(retries):
        given = failed(given, now_s=0, max_retries=retries)
        assert given.state is EventState.QUEUED

    last = failed(given, now_s=0, max_retries=retries)

    assert (last.condition, last.runs) == (Condition.RETRIES_EXHAUSTED, retries + 1)


def test_one_that_would_be_too_old_at_its_next_try_is_over_now() -> None:
    young = failed(event(), now_s=39, max_age_s=100)
    old = failed(event(), now_s=41, max_age_s=100)

    assert young.state is EventState.QUEUED
    assert (old.condition, old.runs, old.ended) == (Condition.AGE_EXCEEDED, 1, at(41))
    assert old.attempts[-1].error == "boom"
    assert old.reason == "older than 100 s at its next try; ValueError: boom"


def test_a_success_is_over() -> None:
    done = verdicts.after_run(
        event(errors=1, runs=1),
        outcome(Status.OK, b"1"),
        Settings(),
        started=NOON,
        now=at(1),
    )

    assert (done.state, done.condition) == (EventState.SUCCEEDED, Condition.SUCCESS)
    assert (done.runs, done.ended, done.attempts[-1].is_billed) == (2, at(1), True)


def test_want_of_room_takes_no_retry_and_is_no_attempt() -> None:
    waiting = verdicts.after_refusal(event(), THROTTLED, Settings(), now=at(5))

    assert (waiting.state, waiting.due) == (EventState.QUEUED, NOON)
    assert (waiting.errors, waiting.runs, waiting.attempts) == (0, 0, ())
    assert (waiting.throttles, waiting.reason) == (1, "no room")


def test_want_of_room_for_too_long_is_the_end() -> None:
    over = verdicts.after_refusal(
        event(), THROTTLED, Settings(max_age_s=60), now=at(61)
    )

    assert (over.condition, over.runs) == (Condition.AGE_EXCEEDED, 0)


def test_when_our_side_broke_pauses_grow_and_no_retry_is_taken() -> None:
    given, pauses = event(), []
    for _ in range(12):
        given = verdicts.after_fault(
            given, Internal("lost"), Settings(), started=NOON, now=NOON
        )
        pauses.append((given.due - NOON).total_seconds())

    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert (given.errors, given.runs) == (0, 12)
    assert given.attempts[-1].status is AttemptStatus.SYSTEM_ERROR


def test_a_run_forgets_what_our_side_broke_before() -> None:
    given = failed(event(setbacks=5), now_s=0)

    assert given.setbacks == 0


def test_what_will_not_be_run_is_over_at_once() -> None:
    over = verdicts.after_fault(
        event(), NotFound("deleted"), Settings(), started=NOON, now=at(1)
    )

    assert (over.condition, over.state) == (Condition.REFUSED, EventState.DEAD)
    assert (over.reason, over.runs) == ("deleted", 0)


def test_an_interrupted_event_runs_again_at_once_and_then_after_pauses() -> None:
    given, pauses = event(), []
    for _ in range(4):
        given = verdicts.after_interruption(given, started=NOON, now=at(9))
        pauses.append((given.due - at(9)).total_seconds())

    assert pauses == [0, 1, 2, 4]
    assert (given.state, given.runs, given.errors) == (EventState.QUEUED, 4, 0)
    assert given.attempts[-1].status is AttemptStatus.INTERRUPTED
    assert not given.attempts[-1].is_billed


def test_attempts_that_are_kept_are_the_last() -> None:
    given = event()
    for _ in range(MAX_ATTEMPTS_KEPT + 5):
        given = verdicts.after_interruption(given, started=NOON, now=NOON)

    assert (len(given.attempts), given.runs) == (MAX_ATTEMPTS_KEPT, 25)


def test_a_function_that_is_switched_off_does_not_run() -> None:
    over = verdicts.judged_at_once(event(), Settings(is_switched_off=True), now=at(1))

    assert over is not None
    assert (over.condition, over.runs) == (Condition.ZERO_CONCURRENCY, 0)


def test_an_event_that_is_too_old_does_not_run() -> None:
    settings = Settings(max_age_s=60)

    assert verdicts.judged_at_once(event(), settings, now=at(60)) is None
    over = verdicts.judged_at_once(event(), settings, now=at(61))

    assert over is not None
    assert over.condition is Condition.AGE_EXCEEDED


def test_the_seventeenth_round_of_a_loop_does_not_run() -> None:
    trail = ""
    for _ in range(lineage.MAX_ROUNDS - 1):
        trail = lineage.continued(trail, "1", "f")
    round_16, round_17 = (
        event(lineage=trail),
        event(lineage=lineage.continued(trail, "1", "f")),
    )

    assert verdicts.judged_at_once(round_16, Settings(), now=NOON) is None
    over = verdicts.judged_at_once(round_17, Settings(), now=NOON)
    allowed = verdicts.judged_at_once(round_17, Settings(may_recurse=True), now=NOON)

    assert over is not None
    assert over.condition is Condition.RECURSION
    assert allowed is None


def test_who_is_told_depends_on_how_it_ended() -> None:
    settings = Settings(on_success="arn:s", on_failure="arn:f", dead_letter="arn:d")
    done = event(condition=Condition.SUCCESS, ended=at(1))
    lost = event(condition=Condition.AGE_EXCEEDED, ended=at(1))

    success = verdicts.deliveries_of(done, settings)
    failure = verdicts.deliveries_of(lost, settings)

    assert [(d.kind, d.target) for d in success] == [
        (DeliveryKind.DESTINATION, "arn:s")
    ]
    assert [(d.kind, d.target) for d in failure] == [
        (DeliveryKind.DESTINATION, "arn:f"),
        (DeliveryKind.DEAD_LETTER, "arn:d"),
    ]
    assert {(d.position, d.due, d.since) for d in failure} == {(7, at(1), at(1))}
    assert verdicts.deliveries_of(lost, Settings(on_success="arn:s")) == ()


def test_a_delivery_is_given_up_after_an_hour() -> None:
    [delivery] = verdicts.deliveries_of(
        event(condition=Condition.SUCCESS, ended=NOON), Settings(on_success="arn:s")
    )
    tried = [delivery]
    while again := verdicts.delivery_failed(tried[-1], "no", now=tried[-1].due):
        tried.append(again)

    assert tried[1].due == at(1)
    assert tried[2].due == at(3)
    assert at(3_300) < tried[-1].due <= at(3_600)
    assert tried[-1].error == "no"


def test_one_who_could_not_be_told_makes_it_dead() -> None:
    lost = event(condition=Condition.RETRIES_EXHAUSTED, state=EventState.DELIVERING)

    waiting = verdicts.told(lost, left=1, undelivered="queue is gone")
    dead = verdicts.told(waiting, left=0)
    all_told = verdicts.told(lost, left=0)

    assert waiting.state is EventState.DELIVERING
    assert (dead.state, dead.undelivered) == (EventState.DEAD, "queue is gone")
    assert all_told.state is EventState.FAILED


def test_a_dead_event_is_redriven_as_if_it_came_now() -> None:
    dead = replace(
        failed(event(), now_s=9, max_retries=0), setbacks=3, undelivered="gone"
    )

    again = verdicts.redriven(dead, now=at(500))

    assert (again.state, again.accepted, again.due) == (
        EventState.QUEUED,
        at(500),
        at(500),
    )
    assert (again.errors, again.setbacks, again.undelivered) == (0, 0, "")
    assert (again.condition, again.ended) == (None, None)
    assert (again.runs, again.attempts) == (1, dead.attempts)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (FAILURE, "boom"),
        (b'{"errorMessage":' + b'"' + b"x" * 2_000 + b'"}', "x" * 1_024),
        (b'{"errorMessage":null}', "None"),
        (b'{"errorMessage":"\\udcff.txt"}', "?.txt"),
        (b'{"errorMessage":[%s1]}' % (b"[]," * 1_000_000), ""),
        (b'{"errorMessage":"boom","more":[%s1]}' % (b"[]," * 1_000_000), "boom"),
        (b'{"errorMessage":"\xff"}', ""),
        (b'{"errorMessage":"' + b"x" * 100_000 + b'\xff"}', ""),
        (b'{"other":1}', ""),
        (b"[1]", ""),
        (b"not json", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_an_errors_text_is_what_its_object_says(payload: bytes, text: str) -> None:
    collected = gc.get_stats()[0]["collections"]

    said = verdicts.error_text(payload)

    assert said == text
    assert gc.get_stats()[0]["collections"] - collected < 10  # little was built
    msgspec.json.encode(said)  # or the event could not be kept, and never be over


def test_a_lineage_is_written_and_read_as_aws_has_it() -> None:
    once = lineage.continued("", "1", "f")
    twice = lineage.continued(lineage.continued(once, "1", "g"), "1", "f")
    header = f"{ROOT};Lineage={twice};Sampled=0"

    assert twice.count("|") == 1
    assert lineage.read(header) == (f"{ROOT};Sampled=0", twice)
    assert lineage.read(header.replace("|", "%7C")) == lineage.read(header)
    assert lineage.read(ROOT) == (ROOT, "")
    assert lineage.read("Lineage=zz") == ("", "")


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1", "the same"),
        (f"Sampled=1;{ROOT};Self=1-2-3;Parent=53995c3f42cd8ad8", "in order"),
        (ROOT, f"{ROOT};Parent=4444555555555555;Sampled=0"),
        (f"{ROOT};Sampled=?", f"{ROOT};Parent=4444555555555555;Sampled=0"),
        ("Root=1-2-3;Parent=53995c3f42cd8ad8", "new"),
        (f"{ROOT}%0d%0aX: 1", "new"),
        (f"{ROOT};Parent=" + "5" * lineage.MAX_HEADER, "new"),
        ("", "new"),
    ],
)
def test_a_caller_s_trace_is_gone_on_with(header: str, trace: str) -> None:
    own = "Root=1-11111111-222233334444555555555555;Parent=4444555555555555;Sampled=0"
    whole = f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1"
    expected = {"the same": whole, "in order": whole, "new": own}.get(trace, trace)

    told = lineage.whole(
        lineage.read(header)[0], "11111111-2222-3333-4444-555555555555"
    )

    assert told == expected


def test_a_chain_of_too_many_functions_counts_as_a_loop() -> None:
    trail = ""
    for number in range(lineage.MAX_FUNCTIONS + 1):
        assert not lineage.is_loop(trail, "1", "last")
        trail = lineage.continued(trail, "1", f"f{number}")

    assert lineage.is_loop(trail, "1", "last")
