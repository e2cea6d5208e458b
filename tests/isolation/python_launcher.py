"""The launcher of a machine that we have no machine code for: its wardens make cells'
first processes in Python. Its arguments are the launcher's own."""

import sys

from sandlot_sandbox.guest import holder
from sandlot_sandbox.launcher import __main__ as launcher

if __name__ == "__main__":
    setattr(holder, "made", lambda _: None)  # noqa: B010 - not ours
    sys.exit(launcher.main())
