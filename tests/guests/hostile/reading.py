"""Reads a file of its package, slowly enough to be looked at, that is larger than its
memory."""

import time


def handler(event, context):
    read = 0
    with open("/var/task/big", "rb", buffering=0) as file:
        while part := file.read(1 << 20):
            read += len(part)
    time.sleep(0.2)
    return read
