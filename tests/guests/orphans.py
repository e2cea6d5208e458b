"""Leaves processes behind that want to live: daemons, stopped ones, deaf ones."""

import os
import signal
import time


def daemons(event):
    """Detached in every way there is, deaf to every signal that can be ignored."""
    ready, report = os.pipe()
    for _ in range(event["count"]):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 32):
                    if number not in (signal.SIGKILL, signal.SIGSTOP):
                        signal.signal(number, signal.SIG_IGN)
                os.write(report, b"x")
                if event.get("stopped"):
                    os.kill(os.getpid(), signal.SIGSTOP)
                while True:
                    time.sleep(60)
            os._exit(0)
        os.wait()
    for _ in range(event["count"]):
        os.read(ready, 1)
    if event.get("hang"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if event.get("exit"):
        os._exit(0)
    return event["count"]


def stop_myself(event):
    os.kill(os.getpid(), signal.SIGSTOP)


def handler(event, context):
    return globals()[event["do"]](event)
