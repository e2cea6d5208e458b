"""How the collector of cycles is set. In a process of its own: it is the process's."""

import subprocess
import sys

from sandlot_engine import garbage

SETTLE = """
import gc
from sandlot_engine import garbage

old = [[] for _ in range(1000)]
garbage.settle()
frozen, tracked = gc.get_freeze_count(), len(gc.get_objects())
class Cycle: ...
def leave():
    cycle = Cycle()
    cycle.itself = cycle
for _ in range(garbage.OBJECTS):
    leave()
alive = sum(isinstance(each, Cycle) for each in gc.get_objects())
print(frozen >= len(old), tracked < len(old), gc.get_threshold()[0], alive)
"""


def test_what_is_there_is_left_alone_and_what_comes_is_still_collected() -> None:
    told = subprocess.run(
        [sys.executable, "-c", SETTLE], check=True, capture_output=True, text=True
    ).stdout.split()

    assert told[:3] == ["True", "True", str(garbage.OBJECTS)]
    assert int(told[3]) < garbage.OBJECTS
