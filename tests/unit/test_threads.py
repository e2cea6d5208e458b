"""Pools whose threads are there from the beginning."""

import threading
from concurrent.futures import wait

import pytest

from sandlot_engine.errors import Unavailable
from sandlot_engine.threads import started


def test_all_threads_are_there_before_anybody_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = started(3, "some")
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    all_at_once = threading.Barrier(3, timeout=10)

    done, _ = wait([pool.submit(all_at_once.wait) for _ in range(3)], timeout=10)

    assert sorted(each.result() for each in done) == [0, 1, 2]
    pool.shutdown()


def test_where_one_cannot_be_started_none_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, start = threading.active_count(), threading.Thread.start
    left = iter([start, start, _refuse])
    monkeypatch.setattr(threading.Thread, "start", lambda thread: next(left)(thread))

    with pytest.raises(Unavailable, match="no threads can be started"):
        started(3, "some")

    assert threading.active_count() == before


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
