"""Asks at its import to be told of children that end, and has one in the handler."""

import os
import signal
import sys
import time

told = []
signal.signal(signal.SIGCHLD, lambda *_: told.append(os.waitpid(-1, 0)[0]))
if os.environ.get("BY_PYTHON"):
    # To be opened again for each clone, which machine code does not.
    kept = open(sys.modules[__name__].__file__)


def handler(event, context):
    began = time.time()
    child = os.posix_spawn("/bin/true", ["true"], {})
    while time.time() < event.get("until", 0.0):
        time.sleep(0.01)
    return {
        "began": began,
        "told": told.count(child),
        "instance": context.log_stream_name,
    }
