"""Holds memory in children whose first threads have ended, and so tell nothing."""

import ctypes
import os
import threading
import time

EXIT_THREAD = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
libc = ctypes.CDLL(None)


def work(mb, tell):
    time.sleep(0.2)
    kept = bytearray(mb << 20)
    kept[::4096] = bytes(len(kept) // 4096)
    os.write(tell, b"+")
    time.sleep(600)


def handler(event, context):
    ready, tell = os.pipe()
    for _ in range(event["children"]):
        if os.fork() == 0:
            threading.Thread(target=work, args=(event["mb"], tell)).start()
            # The thread's own exit, not the process's.
            libc.syscall(EXIT_THREAD, 0)
    for _ in range(event["children"]):
        os.read(ready, 1)
    time.sleep(600)
