"""What was rehearsed in the zygote, no clone has to write into its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter

_LEFT = {
    "json.encoder.JSONEncoder.encode",  # not ours
    "json.encoder.JSONEncoder.iterencode",
}
"""What the interpreter settles on nothing for, and counts each time."""

_LEFT_BY_3_13 = {
    *_LEFT,
    "sandlot_sandbox.guest.instance.prepare",
    "sandlot_sandbox.guest.instance.run",
}
"""It counts which way some branches go."""

_REHEARSED = """
import socket, types
from sandlot_sandbox import frames
from sandlot_sandbox.guest import fork_loop, instance, shedding, zygote

class Entry:
    def rehearsal(self):
        return self

    def make(self):
        raise OSError("it leads nowhere")

def written():
    "The code of all our functions as it is now, with what it counts."
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("sandlot_", "json.")):
            classes = [each for each in vars(module).values() if type(each) is type]
            for owner in (module, *classes):
                for each in vars(owner).values():
                    if type(each) is types.FunctionType and each.__module__ == name:
                        code = each.__code__._co_code_adaptive
                        found[name + "." + each.__qualname__] = code
    return found

loop = fork_loop.ForkLoop.__new__(fork_loop.ForkLoop)
loop._memory = bytes(4096)
made = zygote._Zygote.__new__(zygote._Zygote)
made._entry, made._loop = Entry(), loop
made._settings, made._not_unique = {"handler": "hello.handler"}, None
made._function = made._channel = None
made._of_children = zygote._SIG_DFL
made._shed = shedding.Shedding().shed
zygote._rehearse_beginning()
made._rehearse()

ours, theirs = socket.socketpair()
after, nobodys = [], instance._event_of_ours()
def handler(event, context):
    after.append(written())
    if len(after) == 1:
        theirs.sendall(nobodys)
    else:
        theirs.shutdown(socket.SHUT_WR)
    return {"event": event}

theirs.sendall(frames.SHED + nobodys)
made._function, made._channel = handler, ours
before = written()
made._be_cloned_by(loop)
# As it waited for its second event, but for the way to the handler.
result = sorted(name for name in before if before[name] != after[1][name])
"""


@every_interpreter
def test_a_clone_writes_little_of_the_way_into_its_code(
    python: str, tmp_path: Path
) -> None:
    if Path(python).name in ("python3.9", "python3.10"):
        pytest.skip("it has no instructions that change")

    written = Guest(python, tmp_path).result_of(_REHEARSED)

    is_newest = Path(python).name == "python3.13"
    assert set(written) <= (_LEFT_BY_3_13 if is_newest else _LEFT)


_ITS_TRACE = """
import os
from sandlot_sandbox.guest import instance

with instance.rehearsed() as channel:
    instance.run(instance.echo, "", channel, None, False, lambda: 0, lambda: None)
result = "_X_AMZN_TRACE_ID" in os.environ
"""


@every_interpreter
def test_no_clone_begins_with_the_trace_of_a_rehearsal(
    python: str, tmp_path: Path
) -> None:
    assert Guest(python, tmp_path).result_of(_ITS_TRACE) is False


_TRACES = """
import os
from sandlot_sandbox import frames
from sandlot_sandbox.guest import instance

def resident_kb():
    with open("/proc/self/statm") as counts:
        return int(counts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

def invoke(number):
    trace = f"Root=1-{number:08x}-{number:024x};Parent={number:016x};Sampled=0"
    instance.prepare(frames.EventHeader("r", 1, "arn", trace_id=trace))
    return trace

for number in range(1_000):
    invoke(number)
before = resident_kb()
for number in range(50_000):
    last = invoke(number)
result = [os.environ["_X_AMZN_TRACE_ID"] == last, resident_kb() - before]
"""


@every_interpreter
def test_the_traces_of_past_events_take_no_memory(python: str, tmp_path: Path) -> None:
    is_seen, more_kb = Guest(python, tmp_path).result_of(_TRACES)

    assert is_seen
    assert more_kb < 2_000  # of the 8,000 that the C library would keep
