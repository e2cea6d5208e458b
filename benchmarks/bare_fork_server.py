"""A peer's process: as warm as a zygote of ours, forking into no jail at all.

Run by the functions' interpreter: `bare_fork_server.py FD PACKAGE GUEST MODULE`.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

_MAX_EVENT = 1 << 16


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.path[:0] = sys.argv[2:4]
    # Not used: it brings in what our zygotes have loaded, so that a fork has as many
    # pages to copy here as there.
    importlib.import_module("sandlot_sandbox.guest.zygote")
    handler = importlib.import_module(sys.argv[4]).handler
    # The kernel reaps what we fork.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    while True:
        note, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        if not note:
            return
        if os.fork() == 0:
            control.close()
            serve(socket.socket(fileno=descriptors[0]), handler)
        os.close(descriptors[0])


def serve(channel: socket.socket, handler: Any) -> None:
    """Until the other end is closed. Never returns."""
    try:
        while event := channel.recv(_MAX_EVENT):
            channel.send(json.dumps(handler(json.loads(event), None)).encode())
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
