"""Forks that machine code makes between two forks, in every interpreter."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sandlot_sandbox.guest import fork_loop
from tests.fakes.guest_interpreters import (
    Guest,
    every_interpreter,
    python_with_numpy,
)

pytestmark = pytest.mark.skipif(
    not fork_loop.is_possible(), reason="machine code is for x86-64 only"
)

ZYGOTE = """
import mmap, socket
from sandlot_sandbox import frames
from sandlot_sandbox.guest import fork_loop, places, sealed_memory, shedding
from sandlot_sandbox.guest.calls import Calls
from sandlot_sandbox.guest.fork_loop import *

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
wake_read, wake_write = os.pipe()
told_read, told_write = os.pipe()
os.environ[places.LOG_STREAM] = "day/[1]" + "0" * places.DIGITS

def table(*calls):
    made = Calls()
    for call in calls:
        made.add(*call)
    return made.prepared()

def loop_of(*, before=(), way=(), descriptors=3):
    found = places.find()
    random = [*found.random, (found.name[0], places.DIGITS)]
    draws = [("getrandom", address, size, 0) for address, size in random]
    return fork_loop.ForkLoop(
        channel=theirs.fileno(),
        wake=wake_read,
        descriptors=fork_loop.expected_descriptors(descriptors),
        before=table(*before),
        way=table(*way, *draws),
        name=found.name,
    )

def ask(*instances, descriptors=3):
    for instance in instances:
        note = frames.encode_fork(instance)
        socket.send_fds(ours, [note], [told_write] * descriptors)

def run(loop, tell=lambda: None, patience_ms=10_000):
    "What happened in the zygote, the clones it forked, what each told of itself."
    happened = loop.run(patience_ms)
    if happened in (CLONED, STRANDED):
        instance = frames.decode_task(loop.note)[1]
        line = json.dumps([instance, happened, tell()])
        os.write(told_write, line.encode() + b"\\n")
        os._exit(0)
    forked = loop.forked()
    for pid, _ in forked:
        assert os.waitpid(pid, 0) == (pid, 0)
    # Of a pipe that others than its clones write to nobody sees the end.
    os.write(told_write, b"\\n\\n")
    text = b""
    while not text.endswith(b"\\n\\n"):
        text += os.read(told_read, 65_536)
    told = sorted(json.loads(line) for line in text.splitlines() if line)
    return [happened, [number for _, number in forked], told]

def open_files():
    return len(os.listdir("/proc/self/fd"))
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path, before=ZYGOTE)


@every_interpreter
def test_each_note_is_a_clone_and_the_next_other_one_is_pythons(guest: Guest) -> None:
    happened, forked, told, note = guest.result_of(
        """
loop = loop_of()
ask(1, 70_000, 3)
ours.send(frames.encode_terminate(9))
result = [*run(loop), frames.decode_task(loop.note)[1]]
""",
    )

    assert (happened, note) == (fork_loop.NOTE, 9)
    assert forked == [1, 70_000, 3]
    assert [each[:2] for each in told] == [[1, 0], [3, 0], [70_000, 0]]


@every_interpreter
def test_what_is_done_before_the_first_fork_is_done_once(guest: Guest) -> None:
    first, second, heard = guest.result_of(
        """
made = shedding.Shedding()
loop = loop_of()
laid = sealed_memory.lay_down()
made.of(laid.places, laid.fd)
kept = os.dup2(laid.fd, 100)
loop.begin_with(made.call, laid.sealing().prepared())
heard = []
for instance in (1, 2):
    ask(instance)
    ours.send(frames.encode_terminate(9))
    heard.append(run(loop)[:2])
try:
    os.pwrite(kept, b"x", 0)
except PermissionError:
    heard.append("sealed")
result = heard
""",
    )

    assert heard == "sealed"
    assert first == [fork_loop.NOTE, [1]]
    assert second == [fork_loop.NOTE, [2]]


@every_interpreter
def test_nobody_is_cloned_whose_memory_could_not_be_sealed(guest: Guest) -> None:
    happened, forked, told, why = guest.result_of(
        """
made = shedding.Shedding()
loop = loop_of()
laid = sealed_memory.lay_down()
made.of(laid.places, laid.fd)
shared = mmap.mmap(laid.fd, mmap.PAGESIZE, mmap.MAP_SHARED)
loop.begin_with(made.call, laid.sealing().prepared())
ask(1)
result = [*run(loop), loop.unsealed().errno]
""",
    )

    assert (happened, forked, told) == (fork_loop.UNSEALED, [], [])
    assert why == errno.EBUSY


@every_interpreter
def test_every_clone_has_a_log_stream_of_its_own(guest: Guest) -> None:
    _, _, told = guest.result_of(
        """
loop = loop_of()
ask(1, 2, 3)
ours.send(frames.encode_terminate(9))
result = run(loop, lambda: [
    os.environ[places.LOG_STREAM],
    os.popen("echo $AWS_LAMBDA_LOG_STREAM_NAME").read().strip(),
])
""",
    )

    names = [name for _, _, (name, _) in told]
    assert len({*names}) == len(names) == 3
    assert all(name.startswith("day/[1]") and int(name[7:], 16) for name in names)
    assert [in_c for _, _, (_, in_c) in told] == names


@every_interpreter
def test_what_came_with_a_fork_is_closed_after_it(guest: Guest) -> None:
    before, after = guest.result_of(
        """
loop = loop_of()
before = open_files()
ask(1, 2, 3)
ours.send(frames.encode_terminate(9))
run(loop)
result = [before, open_files()]
""",
    )

    assert before == after


@every_interpreter
def test_other_descriptors_are_pythons(guest: Guest) -> None:
    more, fewer, none, others = guest.result_of(
        """
result = []
for descriptors in (4, 2, 0):
    loop = loop_of()
    ask(1, descriptors=descriptors)
    result.append([*run(loop)[:2], len(loop.came_with)])
    for fd in loop.came_with:
        os.close(fd)
loop = loop_of()
taken = os.dup(0)
ask(1)
result.append([*run(loop)[:2], len(loop.came_with)])
""",
    )

    assert more == [fork_loop.NOTE, [], 4]
    assert fewer == [fork_loop.NOTE, [], 2]
    assert none == [fork_loop.NOTE, [], 0]
    assert others == [fork_loop.NOTE, [], 3]


@every_interpreter
def test_python_goes_on_at_a_childs_end_and_when_patience_does(guest: Guest) -> None:
    woken, timed_out, ended = guest.result_of(
        """
loop = loop_of()
os.write(wake_write, b".")
result = [run(loop)[0]]
os.read(wake_read, 1)
result.append(run(loop, patience_ms=1)[0])
ours.close()
result.append([run(loop)[0], len(loop.note)])
""",
    )

    assert woken == fork_loop.WOKEN
    assert timed_out == fork_loop.TIMED_OUT
    assert ended == [fork_loop.NOTE, 0]


@every_interpreter
def test_python_takes_note_of_so_many_clones_and_the_loop_goes_on(guest: Guest) -> None:
    full, forked, happened, others = guest.result_of(
        """
loop = loop_of()
asker = os.fork()
if not asker:
    ask(*range(MAX_FORKED + 2))
    ours.send(frames.encode_terminate(9))
    os._exit(0)
result = run(loop)[:2]
result += run(loop)[:2]
os.waitpid(asker, 0)
""",
    )

    assert full == fork_loop.FULL
    assert forked == list(range(fork_loop.MAX_FORKED))
    assert happened == fork_loop.NOTE
    assert others == [fork_loop.MAX_FORKED, fork_loop.MAX_FORKED + 1]


@every_interpreter
def test_who_cannot_go_all_the_way_is_stranded_and_says_where(guest: Guest) -> None:
    _, forked, told = guest.result_of(
        """
loop = loop_of(way=[("close", 999)])
ask(5)
ours.send(frames.encode_terminate(9))
result = run(loop, lambda: str(loop.failed()))
""",
    )

    assert forked == [5]
    assert told[0][:2] == [5, fork_loop.STRANDED]
    assert "close: Bad file descriptor" in told[0][2]


@every_interpreter
def test_what_fails_before_a_fork_is_pythons(guest: Guest) -> None:
    happened, forked, told, with_it = guest.result_of(
        """
loop = loop_of(before=[("close", 999)])
ask(5)
result = [*run(loop), len(loop.came_with)]
""",
    )

    assert (happened, forked, told) == (fork_loop.NOTE, [], [])
    assert with_it == 3


@every_interpreter
def test_who_registered_for_forks_is_asked(guest: Guest) -> None:
    told, in_zygote = guest.result_of(
        """
asked = []
os.register_at_fork(
    before=lambda: asked.append("before"),
    after_in_parent=lambda: asked.append("parent"),
    after_in_child=lambda: asked.append("child"),
)
loop = loop_of()
ask(1, 2)
ours.send(frames.encode_terminate(9))
result = [[each[2] for each in run(loop, lambda: asked)[2]], asked]
""",
    )

    assert told == [["before", "child"]] * 2
    assert in_zygote == ["before", "parent"]


GENERATORS = {
    "the random module": ("import random", "random.getrandbits(64)"),
    "a Random's second gauss": (
        "import random; it = random.Random(); it.gauss(0, 1)",
        "it.gauss(0, 1)",
    ),
    "a subclass of Random": (
        "import random\nclass Mine(random.Random): pass\nit = Mine(7)",
        "it.random()",
    ),
}
NUMPYS = {
    "numpy's global generator": ("import numpy", "numpy.random.random()"),
    "a RandomState's second gauss": (
        "import numpy; it = numpy.random.RandomState(5); it.randn()",
        "it.randn()",
    ),
}
DRAW = """
{before}
uniqueness.collect()
assert uniqueness.reseed() is None
loop = loop_of()
ask(*range(4))
ours.send(frames.encode_terminate(9))
drawn = [each[2] for each in run(loop, lambda: repr({drawn}))[2]]
result = [*drawn, repr({drawn})]
"""


@every_interpreter
@pytest.mark.parametrize("name", GENERATORS)
def test_every_clone_draws_its_own_seeds(guest: Guest, name: str) -> None:
    before, drawn = GENERATORS[name]

    draws = guest.result_of(DRAW.format(before=before, drawn=drawn))

    assert len({*draws}) == 5


@pytest.mark.parametrize("name", NUMPYS)
def test_every_clone_draws_its_own_seeds_with_numpy(name: str, tmp_path: Path) -> None:
    before, drawn = NUMPYS[name]
    guest = Guest(python_with_numpy(), tmp_path, before=ZYGOTE)

    draws = guest.result_of(DRAW.format(before=before, drawn=drawn))

    assert len({*draws}) == 5


def test_what_such_clones_draw_is_sound(tmp_path: Path) -> None:
    _, _, told = Guest(python_with_numpy(), tmp_path, before=ZYGOTE).result_of(
        """
import numpy, random
uniqueness.collect()
assert uniqueness.reseed() is None
loop = loop_of()
ask(1)
ours.send(frames.encode_terminate(9))
result = run(loop, lambda: [
    float(numpy.random.rand(10_000).mean()),
    sum(random.random() for _ in range(10_000)) / 10_000,
])
""",
    )

    assert all(0.45 < mean < 0.55 for mean in told[0][2])


ONLY_PYTHONS = {
    "a file to open again": "uniqueness.collect([(0, 0)])",
    "an environment that is another": "os.environ = dict(os.environ)",
    "no name": "del os.environ[places.LOG_STREAM]",
    "another name in C": "os.putenv(places.LOG_STREAM, 'another')",
    "a generator half used": (
        "import random; uniqueness.collect(); uniqueness.reseed(); random.random()"
    ),
}


@every_interpreter
@pytest.mark.parametrize("what", ONLY_PYTHONS)
def test_with_something_else_clones_are_pythons(guest: Guest, what: str) -> None:
    assert guest.result_of(ONLY_PYTHONS[what] + "\nresult = places.find()") is None


@pytest.mark.parametrize("made", ["default_rng", "SeedSequence"])
def test_with_generators_that_are_seeded_together_clones_are_pythons(
    made: str, tmp_path: Path
) -> None:
    found = Guest(python_with_numpy(), tmp_path, before=ZYGOTE).result_of(
        f"""
import numpy
it = numpy.random.{made}()
uniqueness.collect()
assert uniqueness.reseed() is None
result = places.find()
""",
    )

    assert found is None


@every_interpreter
def test_a_clone_knows_how_it_was_asked_for(guest: Guest) -> None:
    _, _, told = guest.result_of(
        """
loop = loop_of()
for number, how in enumerate([{}, {"is_ahead": True}, {"is_kept": True}]):
    note = frames.encode_fork(number, port=9, **how)
    socket.send_fds(ours, [note], [told_write] * 3)
ours.send(frames.encode_terminate(9))
result = run(loop, loop.asks_for)
""",
    )

    assert [asked for _, _, asked in told] == [
        [False, False],
        [True, False],
        [False, True],
    ]
