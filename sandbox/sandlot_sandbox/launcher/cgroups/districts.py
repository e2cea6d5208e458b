"""Districts: several groups side by side, over which owners are spread.

What is in one group has its turn together: after a neighbour has used it up, an owner
who was quiet so far waits as well, behind the engine and all else on the machine. Side
by side nobody is held to what another has had. The first one is the tree itself, and
whoever is the only owner is in there.
See `docs/decisions/0044-tenants-lie-side-by-side.md`.
"""

import os
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.layout import DEALT_OUT, Layout, is_beside_us

_MOST = 64
"""Owners beyond that share one with others."""

_FOR_A_PROCESSOR = 4
"""So many processes that nobody favours do all of them weigh at most, for each
processor; the engine weighs as much as nine (`sandlot_engine.priority`)."""

_NINE_TIMES = 10
"""Of niceness, that weight."""

_PROCESSES = 16 << 10
"""That one has room for at least, where each is held to its part of all there may be:
thousands of one owner's instances."""

_V1_SHARES, _V2_WEIGHT = 1024, 100
"""The kernel's own."""


class District:
    """Owners who have their turns together."""

    def __init__(self, parts: dict[str, Path]) -> None:
        self.parts = parts
        self.folders = [parts[part] for part in DEALT_OUT & parts.keys()]
        """Its own; others are the tree's."""

        self.estates = 0


def most_of(layout: Layout, processes: int) -> int:
    """How many a tree has at most, in which there may be so many processes.

    One, where nothing has the engine go before what is in them.
    """
    if "cpu" not in layout.controls:
        return 1
    if layout.v2 is None:
        return _MOST if _may_go_first() else 1
    if not is_beside_us(layout.v2):
        return 1
    # Processes are counted there as well, and over all districts by nobody.
    parts = processes // _PROCESSES if "pids" in layout.controls else _MOST
    return max(1, min(_MOST, parts))


def parts_of(tree: dict[str, Path], number: int) -> dict[str, Path]:
    """Where the one of that number is, beside the tree in the parts in which processors
    are dealt out."""
    return {
        part: folder.with_name(f"{folder.name}.{number}")
        if part in DEALT_OUT
        else folder
        for part, folder in tree.items()
    }


def weight_of(count: int, *, is_v2: bool) -> tuple[str, int]:
    """What each of so many is written, and into which file."""
    in_full = _FOR_A_PROCESSOR * (os.cpu_count() or 1)
    file, weight = ("cpu.weight", _V2_WEIGHT) if is_v2 else ("cpu.shares", _V1_SHARES)
    return file, weight * in_full // max(in_full, count)


def _may_go_first() -> bool:
    """Whether the engine, who was started as we were, may have more weight."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, before - _NINE_TIMES)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True
