"""How much memory has to be given back: what the machine has left, and what the engine
may have. What the kernel can take back by itself counts as left. And how much of it,
and of processes, may be kept for who may come."""

FLOOR_SHARE = 20
"""The part of the machine's memory, divided by this, that is to stay free: so that a
burst of starts finds some before anybody has looked."""

FLOOR_MB = 256.0
"""At least that much of it."""

CROWDS_SHARE = 16
"""The part of memory and processes, divided by this, that cells may take which wait for
a crowd."""

CELL_MB = 0.5
"""What one takes, nearly all of it the kernel's: its network, its control groups."""


def short_mb(
    *, total_mb: float, available_mb: float, used_mb: float, budget_mb: float
) -> float:
    """How many MB are missing; 0 where none are. `budget_mb` is 0 where there is none:
    then what `used_mb` says does not matter."""
    floor = min(max(FLOOR_MB, total_mb / FLOOR_SHARE), total_mb / 2)
    missing = floor - available_mb
    if budget_mb:
        missing = max(missing, used_mb - budget_mb)
    return max(0.0, missing)


def cells_for_crowds(*, total_mb: float, budget_mb: float, processes: int) -> int:
    """How many may be kept ready; each is a process. `budget_mb` is 0 where there is
    none."""
    memory_mb = min(total_mb, budget_mb) if budget_mb else total_mb
    return min(int(memory_mb / CELL_MB), processes) // CROWDS_SHARE
