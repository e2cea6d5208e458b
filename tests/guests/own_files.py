"""Looks at its own package, runs a program out of it, and tries to change it."""

import os
import stat
import subprocess

TASK = os.environ["LAMBDA_TASK_ROOT"]


def handler(event, context):
    tool = os.path.join(TASK, "tool.sh")
    refused = {}
    for what, change in (
        ("write", lambda: open(os.path.join(TASK, "new"), "w")),
        ("overwrite", lambda: open(tool, "a")),
        ("remove", lambda: os.remove(tool)),
        ("chmod", lambda: os.chmod(tool, 0o777)),
    ):
        try:
            change()
        except OSError as error:
            refused[what] = error.strerror
    return {
        "said": subprocess.check_output([tool], text=True),
        "modes": {
            name: oct(stat.S_IMODE(os.stat(os.path.join(TASK, name)).st_mode))
            for name in sorted(os.listdir(TASK))
        },
        "refused": refused,
    }
