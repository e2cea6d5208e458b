"""What a jail may use. Nothing here means "unlimited"."""

from __future__ import annotations

import resource
from dataclasses import dataclass

_MIB = 1 << 20

MEMORY_ALLOWANCE_MB = 256
"""On top of a function's memory, for the interpreter and for the stacks of some
thirty threads, which count from the moment they are reserved."""

OPEN_FILES = 1024
"""As AWS Lambda has it."""

ZYGOTE_PROCESSES = 4096
"""Processes and threads of one zygote, its instances and cells together."""

INODES_PER_MB = 64
"""Files in a /tmp, by its size: 32,768 in one of 512 MB."""


@dataclass(frozen=True)
class Limits:
    """What one instance may use, from the function's settings."""

    memory_mb: int
    """The function's memory size. Held per process, as far as rlimits go."""

    tmp_mb: int
    """The size of each instance's own /tmp."""

    @property
    def tmp_options(self) -> str:
        """For mount(2) of a tmpfs."""
        inodes = self.tmp_mb * INODES_PER_MB
        return f"size={self.tmp_mb}m,nr_inodes={inodes},mode=1777"

    def apply(self) -> None:
        """Bind this process and its children. Only ever lowers a limit."""
        data = (self.memory_mb + MEMORY_ALLOWANCE_MB) * _MIB
        for kind, limit in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_MEMLOCK, 65_536),
            (resource.RLIMIT_FSIZE, self.tmp_mb * _MIB),
            (resource.RLIMIT_DATA, data),
            (resource.RLIMIT_NPROC, ZYGOTE_PROCESSES),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_SIGPENDING, 1024),
            (resource.RLIMIT_NICE, 0),
            (resource.RLIMIT_RTPRIO, 0),
        ):
            _lower(kind, limit)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
