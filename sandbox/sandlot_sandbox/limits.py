"""What a jail may use. Nothing here means "unlimited"."""

from __future__ import annotations

import resource
from dataclasses import dataclass

_KIB = 1 << 10
_MIB = 1 << 20

MEMORY_ALLOWANCE_MB = 256
"""On top of a function's memory, for the interpreter and for the stacks of some
thirty threads, which count from the moment they are reserved."""

PROCESSES = 1024
"""Processes and threads of one instance, as AWS Lambda has it; where the `pids`
controller holds it."""

ZYGOTE_EXTRA_MB = 64
"""What a zygote's group has on top: the interpreter, and what the kernel holds."""

_IMPORT_CPUS = 0.5
MB_PER_CPU = 1769
"""A function of this much memory has one processor, as on AWS Lambda."""

OPEN_FILES = 1024
"""As AWS Lambda has it."""

ZYGOTE_PROCESSES = 4096
"""Processes and threads of one zygote, its instances and cells together."""

COUNTED_PROCESSES = 12_288
"""The same where a control group holds each instance to its own: as many instances as a
machine has, two each, and what these start."""

CLONES_AT_ONCE = 256
"""A zygote's group has room for so many clones, then for so many more."""

_CLONE_KB = 1_536
"""What a clone takes of its zygote's group: pages that the zygote has to copy because
the clone has them as well, and its page tables, but for:"""

_TABLES_KB_PER_MB = 2

INODES_PER_MB = 64
"""Files in a /tmp, by its size: 32,768 in one of 512 MB."""


@dataclass(frozen=True)
class Share:
    """What one control group may use."""

    memory_bytes: int
    """Of everything: private and shared memory, files in memory, the kernel's."""

    cpus: float
    """Processors that it is owed when others want them, too."""

    max_cpus: float
    """Processors that it may use when nobody else does."""

    processes: int


@dataclass(frozen=True)
class Limits:
    """What one instance may use, from the function's settings."""

    memory_mb: int
    """The function's memory size, for all processes of an instance together. Held by a
    control group, or by who looks; by rlimits only for each process alone."""

    tmp_mb: int
    """The size of each instance's own /tmp."""

    processes: int = ZYGOTE_PROCESSES
    """Processes and threads of one zygote, its instances and cells together."""

    @property
    def tmp_options(self) -> str:
        """For mount(2) of a tmpfs."""
        inodes = self.tmp_mb * INODES_PER_MB
        return f"size={self.tmp_mb}m,nr_inodes={inodes},mode=1777"

    @property
    def cpus(self) -> float:
        return self.memory_mb / MB_PER_CPU

    @property
    def instance_share(self) -> Share:
        """The hard end. That memory without /tmp is within the function's size is seen
        to by whoever reads the group's usage."""
        return Share(
            memory_bytes=(self.memory_mb + self.tmp_mb) * _MIB,
            cpus=self.cpus,
            max_cpus=max(1.0, self.cpus),
            processes=PROCESSES,
        )

    def of_clones(self, count: int) -> int:
        """Bytes that so many clones take of their zygote's group."""
        return count * (_CLONE_KB + _TABLES_KB_PER_MB * self.memory_mb) * _KIB

    def zygote_share(self, clones: int = 0) -> Share:
        """With so many clones; none during the import. That is owed half a processor,
        whatever the function's size."""
        own = (self.memory_mb + self.tmp_mb + ZYGOTE_EXTRA_MB) * _MIB
        return Share(
            memory_bytes=own + self.of_clones(clones),
            cpus=max(_IMPORT_CPUS, self.cpus),
            max_cpus=max(1.0, self.cpus),
            processes=PROCESSES,
        )

    def apply(self, *, passes_descriptors: bool = False) -> None:
        """Bind this process and its children. Only ever lowers a limit.

        Who passes descriptors on keeps his number of them: those on their way count
        for all processes of a user, so that a tenant's could stand in his way.
        """
        data = (self.memory_mb + MEMORY_ALLOWANCE_MB) * _MIB
        for kind, limit in (
            # Not 0, which stops files, but no program that the machine gives cores to.
            (resource.RLIMIT_CORE, 1),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_MEMLOCK, 65_536),
            # A page more than there is in /tmp: who fills that with one file is told
            # ENOSPC, as on any full disk. At the limit itself it is EFBIG, and a
            # program that does not mind SIGXFSZ is killed.
            (resource.RLIMIT_FSIZE, self.tmp_mb * _MIB + resource.getpagesize()),
            (resource.RLIMIT_DATA, data),
            (resource.RLIMIT_NPROC, self.processes),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_SIGPENDING, 1024),
            (resource.RLIMIT_NICE, 0),
            (resource.RLIMIT_RTPRIO, 0),
        ):
            if kind != resource.RLIMIT_NOFILE or not passes_descriptors:
                _lower(kind, limit)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
