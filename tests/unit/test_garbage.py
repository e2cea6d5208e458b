"""How the collector of cycles is set. In a process of its own: it is the process's."""

import subprocess
import sys

from sandlot_engine import garbage

SETTLE = """
import gc
from sandlot_engine import garbage

class Cycle: ...
def leave():
    cycle = Cycle()
    cycle.itself = cycle
def count():
    return sum(isinstance(each, Cycle) for each in gc.get_objects())
def leave_many():
    for _ in range(garbage.OBJECTS):
        leave()

garbage.put_off()
leave_many()
put_off = count()
old = [[] for _ in range(1000)]
garbage.settle()
frozen, tracked = gc.get_freeze_count(), len(gc.get_objects())
leave_many()
print(frozen >= len(old), tracked < len(old), gc.get_threshold()[0], put_off, count())
"""


def test_what_is_there_is_left_alone_and_what_comes_is_still_collected() -> None:
    told = subprocess.run(
        [sys.executable, "-c", SETTLE], check=True, capture_output=True, text=True
    ).stdout.split()

    assert told[:3] == ["True", "True", str(garbage.OBJECTS)]
    assert int(told[3]) == garbage.OBJECTS
    assert int(told[4]) < garbage.OBJECTS


GIVE_BACK = """
from pathlib import Path
from sandlot_engine import garbage

def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 >> 20

garbage.settle()
gone = bytes(8 << 20)
del gone
large, small = [], []
for _ in range(50):
    large.append(b"x" * (6 << 20))
    small.append(b"x" * 100_000)
there = resident_mb()
large.clear()
print(there, resident_mb())
"""


def test_large_blocks_are_given_back_though_small_ones_lie_between_them() -> None:
    told = subprocess.run(
        [sys.executable, "-c", GIVE_BACK], check=True, capture_output=True, text=True
    ).stdout.split()

    there, left = map(int, told)
    assert there > 250
    assert left < 50
