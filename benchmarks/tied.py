"""Runs a command that is told to end when we are gone, however we went.

`tied.py PARENT COMMAND ARGUMENT...`: whoever is killed with SIGKILL cannot end what he
has started. The kernel remembers it over the exec.
"""

import ctypes
import os
import signal
import sys

_SET_DEATH_SIGNAL = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == int(parent):
        os.execv(command[0], command)  # noqa: S606 - the command line is our caller's


if __name__ == "__main__":
    main()
