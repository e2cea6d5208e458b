"""A process whose memory lies in a sealed file, and what its clones give back of it, in
every interpreter."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sandlot_sandbox.guest import calls
from tests.fakes.guest_interpreters import (
    Guest,
    every_interpreter,
    python_with_numpy,
)

pytestmark = pytest.mark.skipif(
    not calls.CAN_SPAWN, reason="machine code is for x86-64 only"
)

ZYGOTE = """
import ctypes, gc, mmap, resource, signal, threading
from sandlot_sandbox.guest import sealed_memory, shedding

words = [str(number) for number in range(50_000)]
expected = list(words)

def anonymous_kb():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(l.split()[1]) for l in file if l.startswith("Anonymous:"))

def mappings():
    with open("/proc/self/maps") as file:
        return [line.split() for line in file if "/memfd:zygote" in line]

def laid_down():
    made = shedding.Shedding()
    gc.collect()
    gc.freeze()
    return made, sealed_memory.lay_down()

def sealed():
    made, laid = laid_down()
    if laid is not None:
        made.of(laid.places, laid.fd)
        made.shed()
        laid.sealing().prepared().make()
    return made
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path, before=ZYGOTE)


@every_interpreter
def test_nearly_all_memory_is_in_a_file_that_nobody_has_open(guest: Guest) -> None:
    before, after, rights, files, is_same = guest.result_of(
        """
before = anonymous_kb()
files = len(os.listdir("/proc/self/fd"))
sealed()
result = [
    before, anonymous_kb(), sorted({rights for _, rights, *_ in mappings()}),
    len(os.listdir("/proc/self/fd")) - files, words == expected,
]
""",
    )

    # What was in use while it was looked at is copied right afterwards.
    assert after < before / 2
    assert all(each.endswith("p") and "x" not in each for each in rights)
    assert files == 0
    assert is_same


@every_interpreter
def test_a_clone_writes_to_its_own_memory_alone(guest: Guest) -> None:
    in_clone, in_zygote, in_next = guest.result_of(
        """
sealed()
def change():
    words[:] = ["other"] * len(words)
    return words[7]
result = [in_a_clone(change), words[7], in_a_clone(lambda: words[7])]
""",
    )

    assert in_clone == "other"
    assert in_zygote == in_next == "7"


@every_interpreter
def test_large_blocks_grow_as_before(guest: Guest) -> None:
    # A list's block is moved and enlarged by the kernel (`mremap`), a heap by `brk`.
    grown = guest.result_of(
        """
block = ctypes.CDLL(None)
block.malloc.restype = block.realloc.restype = ctypes.c_void_p
block.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
kept = [block.malloc(size) for size in (1_000, 100_000, 1_000_000)]
numbers = list(range(200_000))
sealed()
def grow():
    numbers.extend(range(3_000_000))
    for address in kept:
        address = block.realloc(address, 20_000_000)
        ctypes.memset(address, 1, 20_000_000)
    words.extend("x" * 500 for _ in range(50_000))
    return [len(numbers), numbers[199_999], numbers[-1], words[7], words[-1][0]]
result = [in_a_clone(grow), grow()]
""",
    )

    assert grown == [[3_200_000, 199_999, 2_999_999, "7", "x"]] * 2


@every_interpreter
def test_what_has_marks_of_its_own_stays_where_it_is(guest: Guest) -> None:
    values, is_wiped = guest.result_of(
        """
def memory(advice=None, **how):
    made = mmap.mmap(-1, 16 * mmap.PAGESIZE, **how)
    made[:5] = b"hello"
    if advice is not None:
        made.madvise(advice)
    return made
wiped = memory(18, flags=mmap.MAP_PRIVATE)  # MADV_WIPEONFORK
shared = memory(flags=mmap.MAP_SHARED)
plain = memory(flags=mmap.MAP_PRIVATE)
sealed()
def seen():
    shared[:5] = b"there"
    return [wiped[:5].hex(), plain[:5].decode()]
result = [[in_a_clone(seen), shared[:5].decode()], wiped[:5].decode()]
""",
    )

    assert values == [["00" * 5, "hello"], "there"]
    assert is_wiped == "hello"


@every_interpreter
def test_what_was_there_while_it_was_looked_for_may_be_gone(guest: Guest) -> None:
    # Each block of libc's is a mapping: also those in which we read of mappings.
    are_same = guest.result_of(
        """
libc = ctypes.CDLL(None)
assert libc.mallopt(-3, 0)  # M_MMAP_THRESHOLD
def laid_down_among(count):
    block = mmap.mmap(-1, 2 * count * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    block[:] = b"z" * len(block)
    at = ctypes.addressof(ctypes.c_char.from_buffer(block))
    for each in range(count):
        every_other = ctypes.c_void_p(at + 2 * each * mmap.PAGESIZE)
        assert libc.mprotect(every_other, mmap.PAGESIZE, 1) == 0
    sealed()
    return [words == expected, bytes(block) == b"z" * len(block), len(mappings()) > 0]
result = [in_a_clone(lambda: laid_down_among(count)) for count in range(1, 202, 25)]
""",
    )

    assert are_same == [[True] * 3] * 9


@every_interpreter
def test_pages_that_must_not_be_touched_are_not(guest: Guest) -> None:
    # Some kernels tell of them in the marks of a mapping, others, from 6.13 on, do not.
    is_same = guest.result_of(
        """
block = mmap.mmap(-1, 4 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
block[:] = b"z" * len(block)
at = ctypes.addressof(ctypes.c_char.from_buffer(block)) + mmap.PAGESIZE
place, size = ctypes.c_void_p(at), ctypes.c_size_t(mmap.PAGESIZE)
ctypes.CDLL(None).madvise(place, size, 102)  # MADV_GUARD_INSTALL
sealed()
last = block[2 * mmap.PAGESIZE :]
result = last == b"z" * len(last)
""",
    )

    assert is_same


@every_interpreter
def test_beside_a_thread_everything_stays(guest: Guest) -> None:
    beside = guest.result_of(
        """
ended = threading.Event()
thread = threading.Thread(target=ended.wait)
thread.start()
sealed()
result = len(mappings())
ended.set()
thread.join()
""",
    )

    assert beside == 0


@every_interpreter
def test_what_goes_in_the_last_moment_takes_nothing_along(guest: Guest) -> None:
    is_same, is_left, in_vain = guest.result_of(
        """
block = mmap.mmap(-1, 9 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
block[:] = b"z" * len(block)
at = ctypes.addressof(ctypes.c_char.from_buffer(block))
table, given = sealed_memory._table, []
def table_of_what_is_gone(spans, *arguments):
    given.extend(spans)
    made = table(spans, *arguments)
    middle = ctypes.c_void_p(at + 4 * mmap.PAGESIZE)
    assert ctypes.CDLL(None).munmap(middle, ctypes.c_size_t(mmap.PAGESIZE)) == 0
    return made
sealed_memory._table = table_of_what_is_gone
sealed()
last = block[5 * mmap.PAGESIZE :]
files = [[int(bound, 16) for bound in where.split("-")] for where, *_ in mappings()]
result = [
    words == expected,
    last == b"z" * len(last),
    [f for f in files if not any(start <= f[0] < end for start, end, _ in given)],
]
""",
    )

    assert is_same
    assert is_left
    assert in_vain == []


@every_interpreter
def test_signals_are_as_they_were(guest: Guest) -> None:
    blocked, heard = guest.result_of(
        """
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2])
sealed()
os.kill(os.getpid(), signal.SIGUSR1)
result = [
    sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])) == [signal.SIGUSR2], heard
]
""",
    )

    assert blocked
    assert heard == [1]


@every_interpreter
def test_with_room_for_no_file_everything_stays(guest: Guest) -> None:
    is_same, count = guest.result_of(
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sealed()
result = [words == expected, len(mappings())]
""",
    )

    assert is_same
    assert count == 0


@every_interpreter
def test_what_a_zygote_has_come_to_since_is_taken_into_the_file(guest: Guest) -> None:
    taken, before, after, is_same, given = guest.result_of(
        """
made, laid = laid_down()
words[7:20_007] = [str(number) for number in range(1_000_000, 1_020_000)]
expected[7:20_007] = [str(number) for number in range(1_000_000, 1_020_000)]
before = anonymous_kb()
made.of(laid.places, laid.fd)
taken = made.shed()
laid.sealing().prepared().make()
after = anonymous_kb()
def seen():
    return [words == expected, made.shed()]
result = [taken, before, after, *in_a_clone(seen)]
""",
    )

    assert taken > 0
    assert after < before - taken * 2
    assert is_same
    assert given > 0


@every_interpreter
def test_what_was_mapped_anew_is_not_taken_for_what_was_laid_down(
    guest: Guest,
) -> None:
    is_same = guest.result_of(
        """
block = mmap.mmap(-1, 64 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
block[:] = b"z" * len(block)
at = ctypes.addressof(ctypes.c_char.from_buffer(block))
made, laid = laid_down()
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
size, number = ctypes.c_size_t, ctypes.c_int
libc.mmap.argtypes = [ctypes.c_void_p, size, number, number, number, ctypes.c_long]
# MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
assert libc.mmap(at, len(block), 3, 0x32, -1, 0) == at
ctypes.memset(at, ord("y"), len(block))
made.of(laid.places, laid.fd)
made.shed()
laid.sealing().prepared().make()
result = [bytes(block) == b"y" * len(block), in_a_clone(lambda: words == expected)]
""",
    )

    assert is_same == [True, True]


@every_interpreter
def test_nobody_can_write_to_what_is_sealed_and_who_could_is_told_of(
    guest: Guest,
) -> None:
    refused, mapped = guest.result_of(
        """
def error_of(call):
    try:
        call()
    except OSError as error:
        return error.errno
made, laid = laid_down()
kept = os.dup(laid.fd)
def sealed_beside_a_mapping():
    shared = mmap.mmap(kept, mmap.PAGESIZE, mmap.MAP_SHARED)
    return error_of(laid.sealing().prepared().make)
mapped = in_a_clone(sealed_beside_a_mapping)
laid.sealing().prepared().make()
refused = [
    error_of(lambda: os.pwrite(kept, b"x", 0)),
    error_of(lambda: mmap.mmap(kept, mmap.PAGESIZE, mmap.MAP_SHARED)),
]
result = [refused, mapped]
""",
    )

    assert refused == [errno.EPERM, errno.EPERM]
    assert mapped == errno.EBUSY


@every_interpreter
def test_a_clone_gives_back_what_it_has_as_its_zygote_has_it(guest: Guest) -> None:
    given, before, after, is_same, next_given = guest.result_of(
        """
made = sealed()
def used():
    # Every count goes up, and down again; and one page has something new in it.
    sum(1 for word in list(words) if word)
    words[7] = "other"
    before = anonymous_kb()
    given = made.shed()
    after = anonymous_kb()
    is_same = words == expected[:7] + ["other"] + expected[8:]
    return [given, before, after, is_same, made.shed()]
result = in_a_clone(used)
""",
    )

    assert given > 0
    assert after < before
    assert is_same
    # To look at all of it once more was to write to it again.
    assert next_given > 0


@every_interpreter
def test_memory_that_was_mapped_anew_is_not_mistaken_for_the_zygotes(
    guest: Guest,
) -> None:
    result = guest.result_of(
        """
block = mmap.mmap(-1, 64 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
block[:] = b"z" * len(block)
at = ctypes.addressof(ctypes.c_char.from_buffer(block))
made = sealed()
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
size, number = ctypes.c_size_t, ctypes.c_int
libc.mmap.argtypes = [ctypes.c_void_p, size, number, number, number, ctypes.c_long]
def mapped_anew(rights, fill):
    # MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    assert libc.mmap(at, len(block), 3, 0x32, -1, 0) == at
    ctypes.memset(at, ord(fill), len(block))
    libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(len(block)), rights)
    made.shed()
    libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(len(block)), 3)
    return bytes(block) == fill.encode() * len(block)
result = [
    in_a_clone(lambda: mapped_anew(rights, fill))
    for rights in (3, 1, 0) for fill in "yz"
]
""",
    )

    assert result == [True] * 6


@every_interpreter
def test_nothing_is_given_back_beside_a_thread(guest: Guest) -> None:
    beside, alone = guest.result_of(
        """
made = sealed()
def used():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    beside = made.shed()
    ended.set()
    thread.join()
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()  # it is joined a moment before it has gone
    return [beside, made.shed()]
result = in_a_clone(used)
""",
    )

    assert beside == 0
    assert alone > 0


@every_interpreter
def test_signals_wait_while_memory_is_given_back(guest: Guest) -> None:
    heard, blocked = guest.result_of(
        """
made = sealed()
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
def used():
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    rounds = 0
    while len(heard) < 20:
        words[rounds % len(words)] = "other"
        made.shed()
        rounds += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    return [len(heard) >= 20, len(signal.pthread_sigmask(signal.SIG_BLOCK, []))]
result = in_a_clone(used)
""",
    )

    assert heard
    assert blocked == 0


def test_arrays_are_what_they_were(tmp_path: Path) -> None:
    result = Guest(python_with_numpy(), tmp_path, before=ZYGOTE).result_of(
        """
import numpy
arrays = [numpy.arange(size) for size in (10, 1_000, 100_000, 1_000_000)]
sums = [int(array.sum()) for array in arrays]
made = sealed()
def used():
    for array in arrays:
        array[0] += 1
    made.shed()
    return [int(array.sum()) for array in arrays]
result = [sums, in_a_clone(used), [int(array.sum()) for array in arrays]]
""",
    )

    sums, in_clone, in_zygote = result
    assert in_clone == [each + 1 for each in sums]
    assert in_zygote == sums
