"""How much memory has to be given back: what the machine has left, and what the engine
may have. What the kernel can take back by itself counts as left."""

from pathlib import Path

FLOOR_SHARE = 20
"""The part of the machine's memory, divided by this, that is to stay free: so that a
burst of starts finds some before anybody has looked."""

FLOOR_MB = 256.0
"""At least that much of it."""

_KB_PER_MB = 1024


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


def machine_mb(meminfo: Path = Path("/proc/meminfo")) -> tuple[float, float]:
    """The machine's memory, and what of it could be had now."""
    found = {}
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            found[name] = int(value.split()[0]) / _KB_PER_MB
    return found["MemTotal"], found["MemAvailable"]
