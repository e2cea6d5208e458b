"""How a clone ends, and what is told of it; and that its zygote rehearses no end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter

ZYGOTE = """
import atexit, signal, socket
from sandlot_sandbox import frames
from sandlot_sandbox.guest import awslambdaricmain, fork_loop, instance, zygote

class Nowhere:
    def rehearsal(self):
        return self

    def make(self):
        raise OSError("it leads nowhere")

class Loop:
    def __init__(self, happened):
        self.happened = happened

    def run(self, _):
        return self.happened

    def asks_for(self):
        return False, False

    def failed(self):
        return OSError("no way")

def zygote_of(function, channel=None):
    made = zygote._Zygote.__new__(zygote._Zygote)
    made._entry, made._loop = Nowhere(), None
    made._settings, made._not_unique = {"handler": "hello.handler"}, None
    made._function, made._channel = function, channel
    made._of_children, made._take_up = zygote._SIG_DFL, lambda: None
    made._shed = lambda: 0
    return made

def ended(handler, happened=fork_loop.CLONED, before=lambda: None):
    "The status of a clone that was given one event, and its log."
    ours, theirs = socket.socketpair()
    theirs.sendall(instance._event_of_ours())
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writing, 2)
        os.close(writing)
        atexit.register(print, "the end of an interpreter", file=sys.stderr)
        before()
        zygote_of(handler, ours)._obey_by(Loop(happened))
        os._exit(99)
    os.close(writing)
    ours.close()
    with os.fdopen(reading) as pipe:
        log = pipe.read()
    return [os.waitpid(pid, 0)[1] >> 8, log]
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path, before=ZYGOTE)


@every_interpreter
def test_a_clone_ends_as_its_function_has_it_end(guest: Guest) -> None:
    found = guest.result_of(
        """
class Mute:
    def __str__(self):
        raise ValueError("no text")

def exits_with(code):
    def handler(event, context):
        sys.exit(code)
    return handler

def exits_without_stderr(event, context):
    sys.stderr = open(os.devnull, "w")
    sys.stderr.close()
    sys.exit("bye")

def breaks_with(hook):
    def handler(event, context):
        sys.excepthook = hook
        raise KeyboardInterrupt
    return handler

def raises(*_):
    raise RuntimeError("hook")

result = [
    ended(exits_with(None)), ended(exits_with(3)), ended(exits_with("bye")),
    ended(exits_with(Mute())), ended(exits_without_stderr),
    ended(breaks_with(raises)), ended(breaks_with(lambda *_: sys.exit(7))),
]
""",
    )

    assert found == [
        *([0, ""], [3, ""], [1, "bye\n"]),
        *([1, ""], [1, ""]),
        *([1, ""], [1, ""]),
    ]


@every_interpreter
def test_a_clone_that_is_stranded_goes_no_further(guest: Guest) -> None:
    told, untold = guest.result_of(
        """
result = [
    ended(None, fork_loop.STRANDED),
    ended(None, fork_loop.STRANDED, lambda: os.close(2)),
]
""",
    )

    assert told == [1, "sandlot: the cell could not be entered: no way\n"]
    assert untold == [1, ""]


@every_interpreter
def test_a_zygote_that_is_not_unique_does_not_rehearse_to_say_so(guest: Guest) -> None:
    called, status, log = guest.result_of(
        """
called = []
awslambdaricmain.LambdaRuntimeClient.post_init_error = lambda *_: called.append(1)

def rehearses():
    made = zygote_of(None)
    made._not_unique = failure = failures.Failure("Runtime.AfterRestoreError", "alike")
    made._rehearse()
    os._exit(len(called) if made._not_unique is failure else 98)

result = [len(called), *ended(None, before=rehearses)]
""",
    )

    assert (called, status, log) == (0, 0, "")
