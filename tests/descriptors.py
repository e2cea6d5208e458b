"""What a process holds open."""

import gc
from pathlib import Path


def open_files(pid: int | str = "self") -> int:
    """How many descriptors a process holds.

    Of this process only those that something still uses: what earlier tests left to the
    garbage collector would else be closed between two counts.
    """
    if pid == "self":
        gc.collect()
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
