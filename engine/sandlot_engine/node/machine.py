"""What there is of memory and processes for the engine and all that it starts: of the
machine, and within the control groups that it is in, as a container or a service is.

Functions' groups lie in the engine's, or beside it where it was given none of its own;
then its limits hold them no less here than they would there.
"""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandlot_sandbox.memory_group import FILES, MEMORY_V1, MEMORY_V2, of_files

_GROUPS = Path("/sys/fs/cgroup")
_HYBRID = "unified"
_PROC = Path("/proc")

_MEMORY_LIMITS = {
    MEMORY_V1: ("memory.limit_in_bytes",),
    # Over `high` nothing is killed, but all that wants more is held up.
    MEMORY_V2: ("memory.max", "memory.high"),
}
_NO_LIMIT = "max"
_KB_PER_MB = 1024
_MB = 1 << 20


def memory_mb(proc: Path = _PROC, groups: Path = _GROUPS) -> tuple[float, float]:
    """How much there is, and how much of it could be had now. Raises `OSError`."""
    of_machine, available = _of_machine(proc / "meminfo")
    total = of_machine
    for folder, kind in _groups_of_us("memory", proc, groups):
        limits = [_limit(folder / name) for name in _MEMORY_LIMITS[kind]]
        most = min((limit for limit in limits if limit is not None), default=None)
        if most is None or most / _MB >= of_machine:
            continue
        total = min(total, most / _MB)
        # Of a group that has gone meanwhile, nothing is used.
        with suppress(FileNotFoundError):
            files = FILES[kind]
            used = int((folder / files.usage).read_text())
            used -= of_files((folder / files.stat).read_bytes())
            available = min(available, (most - used) / _MB)
    return total, max(0.0, min(total, available))


def processes(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """How many there may be at once, of all on the machine, of our user, or in our
    groups. Raises `OSError`."""
    found = [int((proc / "sys" / "kernel" / "pid_max").read_text())]
    of_user, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if of_user != resource.RLIM_INFINITY:
        found.append(of_user)
    ours = _groups_of_us("pids", proc, groups)
    of_groups = (_limit(folder / "pids.max") for folder, _ in ours)
    return min([*found, *(limit for limit in of_groups if limit is not None)])


def _of_machine(meminfo: Path) -> tuple[float, float]:
    found = {}
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            found[name] = int(value.split()[0]) / _KB_PER_MB
    return found["MemTotal"], found["MemAvailable"]


def _groups_of_us(
    controller: str, proc: Path, root: Path
) -> Iterator[tuple[Path, str]]:
    """Our groups, each with those around it as far as they are to be seen, the
    innermost first; and whose words its memory is told in."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except FileNotFoundError:
        return  # a kernel without any
    for line in lines:
        _, names, path = line.split(":", 2)
        if not names:
            yield from ((each, MEMORY_V2) for each in _upwards(root, path))
            yield from ((each, MEMORY_V2) for each in _upwards(root / _HYBRID, path))
        elif controller in names.split(","):
            for name in dict.fromkeys((names, controller)):
                yield from ((each, MEMORY_V1) for each in _upwards(root / name, path))


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """From a group to the root of what is mounted there. In a container that may be the
    container's own, whose path is another on the machine."""
    inside = Path(path.lstrip("/"))
    for each in (inside, *inside.parents):
        yield root / each


def _limit(file: Path) -> int | None:
    """None where there is none, nobody counts there, or it is not for us to see."""
    try:
        said = file.read_text().strip()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return None if said == _NO_LIMIT else int(said)
