"""A launcher of which a cell can be stopped while it is made: `STALLS` in its
environment names a file, and as long as that begins with `1`, no first process comes to
anything. Its arguments are the launcher's own."""

import mmap
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from sandlot_sandbox import linux
from sandlot_sandbox.guest import cell
from sandlot_sandbox.guest.holder import Holder
from sandlot_sandbox.launcher import __main__ as launcher

MAKE_S = 1.5


def main() -> int:
    with open(os.environ["STALLS"], "rb") as file:  # noqa: PTH123 - as everywhere near jails
        stalls = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def stalling(clone: Callable[..., int]) -> Callable[..., int]:
        def cloned(*arguments: Any) -> int:
            pid = clone(*arguments)
            is_of_a_cell = not any(
                isinstance(each, int) and each & linux.CLONE_NEWUSER
                for each in arguments
            )
            if pid and is_of_a_cell and stalls[:1] == b"1":
                os.kill(pid, signal.SIGSTOP)
            return pid

        return cloned

    setattr(cell, "MAKE_S", MAKE_S)  # noqa: B010 - not ours
    setattr(linux, "clone", stalling(linux.clone))  # noqa: B010
    setattr(Holder, "clone", stalling(Holder.clone))  # noqa: B010
    return launcher.main()


if __name__ == "__main__":
    sys.exit(main())
