"""Leaves files in /tmp and values in memory, and ends in every way there is."""

import os
import signal
import time

count = 0


def note(event):
    """One more, in memory and in a file; then it ends, if it is told how."""
    global count
    count += 1
    with open("/tmp/lines", "a") as file:
        file.write("x")
    end = event.get("end")
    if end == "hang":
        hang()
    elif end == "exit":
        os._exit(3)
    elif end == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    elif end == "garbage":
        os.write(3, b"\xff" * 64)
        time.sleep(60)
    elif end == "memory":
        hold({"mb": event["mb"], "stays": True})
    return {
        "count": count,
        "lines": os.path.getsize("/tmp/lines"),
        "files": sorted(os.listdir("/tmp")),
        "flags": _flags_of_tmp(),
    }


def hang():
    print("from here on", flush=True)
    time.sleep(60)


def fill(event):
    """Write so many MB, or as many as there is room for; how many there were."""
    written = 0
    name = event.get("name", "filler")
    try:
        with open(f"/tmp/{name}", "wb") as file:
            for _ in range(event["mb"]):
                file.write(bytes(1 << 20))
                file.flush()
                written += 1
    except OSError:
        pass
    if event.get("end") == "hang":
        hang()
    return written


def hold(event):
    """So much memory, at least as long as somebody looks at it now and then."""
    held = bytearray(event["mb"] << 20)
    if event.get("stays"):
        time.sleep(60)
    return len(held)


def _flags_of_tmp():
    with open("/proc/self/mounts") as file:
        lines = [line.split() for line in file]
    (flags,) = [line[3] for line in lines if line[1] == "/tmp"][-1:]
    return flags


def handler(event, context):
    return globals()[event["do"]](event)
