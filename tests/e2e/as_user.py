"""Runs a command as another user: `as_user.py UID FOLDER COMMAND…`, as root.

What a suite that runs as root needs in order to try the rootless engine. Where this
tree or its interpreter lies in root's home, the user is given a view of the file
system in which they can be reached; everywhere else it changes the user and no more.
"""

import os
import sys
from pathlib import Path

from sandlot_engine.reach import make_reachable


def main() -> None:
    uid, folder, *command = sys.argv[1:]
    needed = [sys.prefix, sys.base_prefix, folder, *filter(None, sys.path)]
    make_reachable([Path(p) for p in needed if Path(p).is_dir()], uid=int(uid))
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    os.chdir(folder)
    os.execv(command[0], command)  # noqa: S606 - the test's own command


if __name__ == "__main__":
    main()
