"""The way into a cell, as a table of calls that is made before the fork.

What comes of them: the clone is in its cell, and has nothing of the zygote's, and no
privilege, any more.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

from sandlot_sandbox import linux
from sandlot_sandbox.guest.calls import Calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandlot_sandbox.guest.calls import Prepared

LEFT_TO_FORK = 1024
"""By so much an instance's limit of all processes of its zygote is below the zygote's
own: a fork bomb leaves it room to fork."""

_Setns = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, use_errno=True)
_CHANNEL = 3
_OUTPUTS = (1, 2)


class Entry:
    """The way from one zygote into cells, for all its clones."""

    def __init__(
        self,
        *,
        has_network: bool,
        has_ruleset: bool,
        folder: str,
    ) -> None:
        """`has_network` tells whether cells have a network of their own, `has_ruleset`
        whether they have one of Landlock's; in `folder` instances begin."""
        self._has_network = has_network
        self._has_ruleset = has_ruleset
        self._folder = folder.encode()
        # Prepared, as it is called before every fork: see `prepared`.
        self._setns = _Setns(("setns", ctypes.CDLL(None, use_errno=True)))
        self._last: tuple[list[int], Prepared] | None = None

    def begin_in(self, folder: str) -> None:
        """Before the first fork: instances begin in another folder."""
        self._folder = os.fsencode(folder)

    def before(self, pid_namespace: int) -> Calls:
        """The same as `enter_pid_namespace`, to be made by machine code."""
        calls = Calls()
        calls.add("setns", pid_namespace, linux.CLONE_NEWPID)
        return calls

    def enter_pid_namespace(self, pid_namespace: int) -> None:
        """Have the next fork come up in a cell. In the zygote. Raises `OSError`."""
        if self._setns(pid_namespace, linux.CLONE_NEWPID):
            raise OSError(ctypes.get_errno(), "setns")

    def prepared(self, cell: list[int], ours: tuple[int, ...]) -> Prepared:
        """The way in. The last one again if descriptors have the same numbers, as they
        mostly have: a page that the zygote writes to is its clones' no longer."""
        if self._last is None or self._last[0] != cell:
            self._last = cell[:], self.calls(cell, ours).prepared()
        return self._last[1]

    def calls(self, cell: list[int], ours: tuple[int, ...]) -> Calls:
        """Takes away: the zygote's control group, its /tmp, processes and loopback, its
        channel, its log, the files and processes beyond the cell, the capabilities that
        entering took, and the calls that did it.

        `cell` has the descriptors of `frames.FORK_DESCRIPTORS`, `ours` the zygote's
        own. Proof: `tests/isolation/test_posture.py`.
        """
        _, mounts, network, channel, log, *others = cell
        ruleset = others.pop(0) if self._has_ruleset else None
        calls = Calls()
        # First, so that all memory from here on is the instance's.
        for join in others:
            calls.add("write", join, b"0", 1)
        calls.add("setns", mounts, linux.CLONE_NEWNS)
        if self._has_network:
            calls.add("setns", network, linux.CLONE_NEWNET)
        calls.add("chdir", self._folder)
        for output in _OUTPUTS:
            calls.add("dup3", log, output, 0)
        # Closes the zygote's channel; the instance's takes its number.
        calls.add("dup3", channel, _CHANNEL, os.O_CLOEXEC)
        for fd in ours:
            calls.add("close", fd)
        limit = struct.pack("=2q", *[_processes()] * 2)
        calls.add("prlimit64", 0, int(resource.RLIMIT_NPROC), limit)
        if ruleset is not None:
            calls.add("landlock_restrict_self", ruleset, 0)
        calls.add("capset", *linux.no_capabilities())
        for fd in cell:
            calls.add("close", fd)
        return calls

    def rehearsal(self) -> Prepared:
        """The same way, to its first call, which the kernel refuses."""
        calls = Calls()
        calls.add("setns", -1, linux.CLONE_NEWNS)
        return calls.prepared()


def _processes() -> int:
    """How many an instance may have, with its zygote and all others of it."""
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    # The zygote's own may be less, if whoever started us has less.
    return processes - LEFT_TO_FORK if processes > 3 * LEFT_TO_FORK else processes
