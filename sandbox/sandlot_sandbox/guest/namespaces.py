"""How many namespaces a jail can have, those of dead cells among them.

A zygote is handed descriptors of a cell's namespaces, and can keep them, or have
processes keep them, after the cell's end. They are memory of the kernel's that no
control group counts.
"""

from __future__ import annotations

_PROCESSES_OF_A_CELL = 2
SPARE = 64
"""The jail's own; cells that wait for an instance; and dead ones that the kernel has
not taken apart yet."""


def bound(processes: int) -> None:
    """Takes away: to have more of them than a jail of so many `processes` can have
    living cells. Before its root is assembled, as /proc is without this afterwards.
    Raises `OSError`, where that is read-only."""
    for kind in ("mnt", "net"):
        path = f"/proc/sys/user/max_{kind}_namespaces"
        # The codec that every interpreter has at its start: here it may find no other,
        # as its library may be in a folder that only root may enter.
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(most(processes)))


def most(processes: int) -> int:
    return processes // _PROCESSES_OF_A_CELL + SPARE
