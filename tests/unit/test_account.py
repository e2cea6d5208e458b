"""What is told of an instance: how long it took, what it used, what it printed."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from sandlot_sandbox.host import account as module
from sandlot_sandbox.host.account import Account
from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.outcome import Ended, Ending
from tests.fakes.loop import Loop

MEMORY_MB = 128
ALL_KB = MEMORY_MB * 1024
LOG, EXTENSIONS = 3, 4


class Pipe:
    def __init__(self, number: int) -> None:
        self.number = number
        self.lines: tuple[Line, ...] = ()
        self.dropped = 0
        self.is_closed = False

    def take(self) -> tuple[tuple[Line, ...], int]:
        taken, self.lines = (self.lines, self.dropped), ()
        return taken

    def close(self) -> None:
        self.is_closed = True


class Stage:
    """An account, on a clock that a test moves, and what was told beside it."""

    def __init__(self, clock: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.kernels_kb = 0
        self.told: list[tuple[Any, ...]] = []
        self.pipes: dict[int, Pipe] = {}
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "PlatformEvents", lambda _, **__: self)
        monkeypatch.setattr(module, "LogPipe", self._pipe)

    def _pipe(self, number: int) -> Pipe:
        return self.pipes.setdefault(number, Pipe(number))

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*said: object, **more: object) -> None:
            if name != "printed":
                self.told.append((name, *said, *more.values()))

        return tell

    def peak_kb(self) -> int:
        return self.kernels_kb

    def account(
        self, *, follows_reset: bool = False, extensions: bool = False
    ) -> Account:
        return Account(
            cast(Any, None),
            LOG,
            extension_log=EXTENSIONS if extensions else None,
            hold=cast(Any, self),
            memory_mb=MEMORY_MB,
            follows_reset=follows_reset,
        )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(Loop(), monkeypatch)


def invoked(
    account: Account, *, init_counts: bool = False, tells_init: bool = False
) -> None:
    account.invoked("r", "key", init_counts=init_counts, tells_init=tells_init)


def ending(
    account: Account, ended: Ended = Ended.ANSWERED, *, goes_on: bool = False
) -> Ending:
    return account.ending(
        ended, b"abc", "", peak_kb=None, goes_on=goes_on, is_streamed=False
    )


def test_of_the_first_invocation_its_init_is_told_apart(stage: Stage) -> None:
    account = stage.account()
    invoked(account)
    stage.clock.pass_by(2.0)
    account.became_ready(has_event=True)
    stage.clock.pass_by(3.0)

    first = ending(account)

    assert (first.init_s, first.duration_s, first.init_is_within) == (2.0, 3.0, False)
    assert stage.told == [
        ("init_started", False),
        ("init_done", 2.0),
        ("started", "r", "key"),
        ("runtime_done", Ended.ANSWERED, "", 3.0, 3),
        ("reported", 3.0, 0),
    ]


def test_of_the_next_there_is_no_init(stage: Stage) -> None:
    account = stage.account()
    invoked(account)
    account.became_ready(has_event=True)
    ending(account)
    stage.clock.pass_by(60.0)
    stage.told.clear()

    invoked(account, tells_init=True)
    stage.clock.pass_by(1.0)
    second = ending(account)

    assert (second.init_s, second.duration_s) == (None, 1.0)
    assert [name for name, *_ in stage.told] == ["started", "runtime_done", "reported"]


@pytest.mark.parametrize("tells_init", [False, True])
def test_an_init_ahead_is_told_where_its_first_invocation_is_to(
    stage: Stage, *, tells_init: bool
) -> None:
    account = stage.account()
    account.init_began()
    stage.clock.pass_by(2.0)
    account.became_ready(has_event=False)
    stage.clock.pass_by(60.0)

    invoked(account, tells_init=tells_init)
    stage.clock.pass_by(1.0)
    first = ending(account)

    assert first.init_s == (2.0 if tells_init else None)
    assert first.duration_s == 1.0
    assert [name for name, *_ in stage.told[:3]] == [
        "init_started",
        "init_done",
        "started",
    ]


def test_of_an_init_that_took_too_long_nothing_was_invoked(stage: Stage) -> None:
    account = stage.account()
    invoked(account)
    stage.clock.pass_by(10.0)

    ended = ending(account, Ended.INIT_TIMED_OUT)

    assert (ended.init_s, ended.duration_s) == (10.0, 0.0)
    assert stage.told == [
        ("init_started", False),
        ("init_failed", 10.0, Ended.INIT_TIMED_OUT, ""),
    ]


def test_an_init_that_failed_is_an_invocation_that_did(stage: Stage) -> None:
    account = stage.account()
    invoked(account)
    stage.clock.pass_by(1.5)

    ended = ending(account, Ended.INIT_FAILED)

    assert (ended.init_s, ended.duration_s) == (1.5, 0.0)
    assert stage.told[1:] == [
        ("init_failed", 1.5, Ended.INIT_FAILED, ""),
        ("started", "r", "key"),
        ("runtime_done", Ended.INIT_FAILED, "", 0.0, 3),
        ("reported", 0.0, 0),
    ]


@pytest.mark.parametrize("follows_reset", [False, True])
@pytest.mark.parametrize("init_counts", [False, True])
def test_an_init_that_is_done_again_is_within_its_invocation(
    stage: Stage, *, follows_reset: bool, init_counts: bool
) -> None:
    is_within = follows_reset or init_counts
    account = stage.account(follows_reset=follows_reset)
    invoked(account, init_counts=init_counts)
    account.became_ready(has_event=True)

    first = ending(account)
    invoked(account, init_counts=True)
    second = ending(account)

    assert (first.init_is_within, second.init_is_within) == (is_within, False)
    begun = [("started", "r", "key"), ("init_started", True)]
    assert (stage.told[:2] == begun) is is_within
    assert stage.told.count(("started", "r", "key")) == 2


def test_what_somebody_else_had_is_not_new(stage: Stage) -> None:
    account = stage.account()
    account.was_ready_before(peak_kb=7)

    invoked(account, tells_init=True)
    stage.clock.pass_by(1.0)
    first = ending(account)

    assert account.is_ready
    assert (first.init_s, first.duration_s, first.peak_memory_kb) == (None, 1.0, 7)


def test_the_most_memory_that_anybody_counted_is_told_and_no_more_than_all(
    stage: Stage,
) -> None:
    account = stage.account()
    account.note_peak(500)
    account.note_peak(300)
    assert account.peak_kb == 500

    stage.kernels_kb = 700
    assert ending(account).peak_memory_kb == 700
    stage.kernels_kb = ALL_KB + 1
    assert ending(account).peak_memory_kb == ALL_KB
    assert (account.is_all(ALL_KB), account.is_all(ALL_KB - 1)) == (True, False)


def test_who_took_all_memory_has_used_it(stage: Stage) -> None:
    account = stage.account()

    account.took_all_memory()

    assert account.peak_kb == ALL_KB


def test_what_goes_on_after_an_answer_is_reported_when_it_is_over(
    stage: Stage,
) -> None:
    account = stage.account()
    account.was_ready_before(peak_kb=0)
    invoked(account)
    stage.clock.pass_by(1.0)
    ending(account, goes_on=True)
    account.answered()
    assert stage.told[-1][0] == "runtime_done"

    stage.clock.pass_by(4.0)
    stage.kernels_kb = 900
    rest = account.rest("Sandbox.Timedout")

    assert (rest.duration_s, rest.peak_memory_kb) == (4.0, 900)
    assert rest.error_type == "Sandbox.Timedout"
    assert stage.told[-1] == ("reported", 5.0, 900)


def test_extensions_lines_are_among_the_function_s_as_they_came(stage: Stage) -> None:
    account = stage.account(extensions=True)
    stage.pipes[LOG].lines = ((1.0, b"one"), (3.0, b"three"))
    stage.pipes[LOG].dropped = 20
    stage.pipes[EXTENSIONS].lines = ((2.0, b"two"),)
    stage.pipes[EXTENSIONS].dropped = 3

    printed = ending(account).printed
    _, dropped = account.take_printed()

    assert [text for _, text in printed] == [b"one", b"two", b"three"]
    assert dropped == 23
    account.close()
    assert all(pipe.is_closed for pipe in stage.pipes.values())
    assert len(stage.pipes) == 2
