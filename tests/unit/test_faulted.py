"""Calls that failed through our side are counted, and logged where that is news."""

import logging

import pytest

from sandlot_engine.errors import (
    Internal,
    NotFound,
    Stopping,
    Troubled,
    Unavailable,
)
from sandlot_engine.gateway import faulted


@pytest.mark.parametrize(
    ("error", "counted", "logged"),
    [
        (Internal("it broke"), 1, ["fault"]),
        (Unavailable("nothing there"), 1, ["fault"]),
        (Troubled("the disk is full"), 1, []),
        (RuntimeError("a mistake"), 1, ["unforeseen"]),
        (Stopping("it stops"), 0, []),
        (NotFound("no such function"), 0, []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_is_our_fault_is_counted_and_what_is_news_is_logged(
    error: Exception,
    counted: int,
    logged: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tally = faulted.Tally()
    monkeypatch.setattr(faulted, "tally", tally)
    told: list[None] = []
    tally.tell = lambda: told.append(None)

    with caplog.at_level(logging.INFO):
        faulted.note(error, "r-1")

    assert (tally.count, len(told)) == (counted, counted)
    assert [record.message for record in caplog.records] == logged
