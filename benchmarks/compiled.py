"""The guest's code as each Python here compiles it: a second of a processor's time.

Each benchmark has that done anew, as a first start has. Where a folder that has it is
named by `SANDLOT_BENCHMARK_COMPILED`, it is taken from there: for whoever runs many,
and only to see them run. Whether it is of this code is looked at all the same.
"""

import os
import shutil
from pathlib import Path

FOLDER = "SANDLOT_BENCHMARK_COMPILED"


def lay_into(store: Path) -> None:
    """Have `store` begin with it, if there is any. Removed and replaced there, it stays
    as it is where it is from."""
    if (folder := os.environ.get(FOLDER)) and not store.exists():
        shutil.copytree(folder, store, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
