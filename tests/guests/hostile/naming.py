"""Gives itself a name that is no text, and files of its own such names as well."""

import ctypes
import mmap
import os
import time

PR_SET_NAME = 15
libc = ctypes.CDLL(None)


def handler(event, context):
    libc.prctl(PR_SET_NAME, b"\xff\xfe\x80", 0, 0, 0)
    file = os.open(b"/tmp/\xff\xfe", os.O_RDWR | os.O_CREAT, 0o600)
    os.truncate(file, 1 << 20)
    handler.kept = [mmap.mmap(file, 1 << 20), mmap.mmap(-1, 80 << 20)]
    time.sleep(event["seconds"])
    return os.getpid()
