"""Runs a program as an ordinary user, from root: `as_user.py UID PATH... -- ARGV...`.

The paths are made reachable first, as the engine does it for itself: the interpreter
of a test run may lie below /root. The process stays the same, so its parent does, too.
"""

import os
import sys
from pathlib import Path

from sandlot_engine.reach import make_reachable


def main() -> None:
    uid = int(sys.argv[1])
    split = sys.argv.index("--")
    make_reachable([Path(path) for path in sys.argv[2:split]], uid=uid)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    argv = sys.argv[split + 1 :]
    os.execv(argv[0], argv)  # noqa: S606 - what the test asked for


if __name__ == "__main__":
    main()
