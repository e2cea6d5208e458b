"""The janitor: it waits for nothing but the launcher's end, and removes its groups."""

import os
import select
import signal

from sandlot_sandbox import linux
from sandlot_sandbox.launcher.cgroups.sweeping import remove_when_empty
from sandlot_sandbox.launcher.cgroups.tree import Tree

_REMOVE_S = 10.0
"""How long a dying process may keep its group from being removed."""


class Janitor:
    """A process that removes a tree when we are gone, however we go."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._start()

    def _start(self) -> None:
        read, self._leash = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _wait_and_clean(self._tree, read, self._leash)
        os.close(read)
        self.pidfd = os.pidfd_open(self._pid)

    def replace(self) -> None:
        """It was killed; `pidfd` is another's then."""
        os.waitpid(self._pid, 0)
        os.close(self.pidfd)
        os.close(self._leash)
        self._start()

    def dismiss(self) -> None:
        """Have it do its work now, and return when it is done."""
        os.close(self._leash)
        os.waitpid(self._pid, 0)
        os.close(self.pidfd)


def _wait_and_clean(tree: Tree, end: int, leash: int) -> None:
    try:
        os.close(leash)
        os.setsid()
        linux.close_range(0, end - 1)
        linux.close_from(end + 1)
        # Whoever ends us all by name, ends the launcher first.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        select.select([end], [], [])
        remove_when_empty(tree.folders, _REMOVE_S)
    finally:
        os._exit(0)
