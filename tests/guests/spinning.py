"""Starts what goes on after the answer, and takes more memory than it has."""

import os
import time


def spin(event):
    """Children that never rest; their number."""
    for _ in range(event["children"]):
        if os.fork() == 0:
            while True:
                pass
    return event["children"]


def count(event):
    """A child that is answered by another one: both have to run."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.write(theirs, b"+")
        os._exit(0)
    os.wait()
    return os.read(ours, 1).decode()


held = []


def hold(event):
    """In the instance itself and in children: memory, a part of it in each."""
    for _ in range(event.get("children", 0)):
        if os.fork() == 0:
            take(event["mb"])
    take(event["mb"])


def take(mb):
    held.append(bytearray(mb << 20))
    time.sleep(60)


def fill(event):
    """A file in /tmp."""
    with open("/tmp/file", "wb") as file:
        for _ in range(event["mb"]):
            file.write(bytes(1 << 20))
    return "ok"


def handler(event, context):
    return globals()[event["do"]](event)
