"""A peer's process: as warm as a zygote of ours, forking into no jail at all.

Run by the functions' interpreter: `bare_fork_server.py FD PACKAGE GUEST MODULE HOW`.
HOW is `namespaces` for children in namespaces of their own, or empty for `os.fork`.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

_MAX_EVENT = 1 << 16

_CLONE3 = 435
_NEW_USER = 0x1000_0000
_NAMESPACES = {
    "mount": 0x0002_0000,
    "uts": 0x0400_0000,
    "ipc": 0x0800_0000,
    "pid": 0x2000_0000,
    "network": 0x4000_0000,
}


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.path[:0] = sys.argv[2:4]
    # Not used: it brings in what our zygotes have loaded, so that a fork has as many
    # pages to copy here as there.
    importlib.import_module("sandlot_sandbox.guest.zygote")
    handler = importlib.import_module(sys.argv[4]).handler
    # Of a terminal's Ctrl-C only the benchmark says anything: it ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel reaps what we fork.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    start = clone if sys.argv[5] == "namespaces" else os.fork
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    while True:
        note, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        if not note:
            return
        if start() == 0:
            control.close()
            serve(socket.socket(fileno=descriptors[0]), handler)
        os.close(descriptors[0])


def clone() -> int:
    """`os.fork` into new namespaces, by `clone3`; the numbers are the same on all
    machines. An ordinary user needs a user namespace for the others."""
    flags = sum(_NAMESPACES.values()) | (_NEW_USER if os.geteuid() else 0)
    arguments = struct.pack("=11Q", flags, 0, 0, 0, signal.SIGCHLD, *([0] * 6))
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = ctypes.pythonapi.syscall(_CLONE3, arguments, len(arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(f"clone3 failed: {pid}")
    return pid


def serve(channel: socket.socket, handler: Any) -> None:
    """Until the other end is closed. Never returns."""
    try:
        while event := channel.recv(_MAX_EVENT):
            channel.send(json.dumps(handler(json.loads(event), None)).encode())
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
