"""What was rehearsed in the zygote, no clone has to write into its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter

_LEFT = {
    "_call",  # of a handler, and it was another's
    *("_identity", "invoke", "make", "read_event", "_serve"),  # these make an object
    "_complete",  # CPython 3.13 counts which way its branches go
    "_peak_read_kb",  # a field of a structure of the kernel's
    *("flush", "prepare", "unmarshal"),  # a stream, the environment, a scanner
}
"""What the interpreter settles on nothing for, and counts each time."""

_REHEARSED = """
import socket, types
from sandlot_sandbox import frames
from sandlot_sandbox.guest import instance

class Way:
    def make(self):
        raise OSError("it leads nowhere")

def written():
    "The code of all our functions as it is now, with what it counts."
    modules = [
        module for name, module in sys.modules.items() if name.startswith("sandlot_")
    ]
    functions = {
        value
        for module in modules
        for value in vars(module).values()
        if type(value) is types.FunctionType
    }
    return {each.__qualname__: each.__code__._co_code_adaptive for each in functions}

def handler(event, context):
    return {"event": event}

instance.rehearse(Way(), lambda: 0)
ours, theirs = socket.socketpair()
theirs.sendall(frames.SHED + instance._event_of_ours())
ours.settimeout(0)
before = written()
try:
    instance._serve_events(ours.fileno(), ours, handler, lambda: 0)
except BlockingIOError:
    pass  # As one that waits for its next event.
after = written()
result = sorted(name for name in before if before[name] != after[name])
"""


@every_interpreter
def test_a_clone_writes_little_of_the_way_into_its_code(
    python: str, tmp_path: Path
) -> None:
    if Path(python).name in ("python3.9", "python3.10"):
        pytest.skip("it has no instructions that change")

    written = Guest(python, tmp_path).result_of(_REHEARSED)

    assert set(written) <= _LEFT
