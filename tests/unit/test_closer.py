"""What takes its time to close is closed where nobody waits for that."""

import os
import threading
from pathlib import Path

import pytest

from sandlot_sandbox.host.closer import Closer

NOTHING_IN_IT = Path("/proc")
MUCH_IN_IT = Path("/")


class Closings:
    """Who closed what, in place of `os.close`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by: dict[int, threading.Thread] = {}
        self._may_close = threading.Event()
        self._close = os.close
        self._closed = threading.Semaphore(0)
        monkeypatch.setattr(os, "close", self)

    def __call__(self, fd: int) -> None:
        self.by[fd] = threading.current_thread()
        if threading.current_thread() is not threading.main_thread():
            self._may_close.wait()
        self._close(fd)
        self._closed.release()

    def go_on(self, count: int) -> None:
        self._may_close.set()
        for _ in range(count):
            self._closed.acquire(timeout=10)


@pytest.fixture
def closings(monkeypatch: pytest.MonkeyPatch) -> Closings:
    return Closings(monkeypatch)


def _opened(path: Path) -> int:
    return os.open(path, os.O_PATH)


def test_what_holds_much_is_closed_by_a_thread(closings: Closings) -> None:
    Closer().close(full := _opened(MUCH_IN_IT))

    os.fstat(full)  # we did not wait for that
    closings.go_on(1)
    assert closings.by[full] is not threading.current_thread()


def test_what_holds_little_is_closed_at_once(closings: Closings) -> None:
    Closer().close(empty := _opened(NOTHING_IN_IT))

    assert closings.by[empty] is threading.current_thread()


def test_no_more_wait_than_the_bound_and_then_who_comes_closes(
    closings: Closings,
) -> None:
    bounded = Closer(most=6)
    waiting = [_opened(MUCH_IN_IT) for _ in range(6)]
    for fd in waiting:
        bounded.close(fd)

    bounded.close(last := _opened(MUCH_IN_IT))

    assert closings.by[last] is threading.current_thread()
    closings.go_on(7)
    assert threading.current_thread() not in [closings.by[fd] for fd in waiting]
