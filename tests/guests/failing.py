"""Fails in the way that it is told."""

import ctypes
import os
import signal
import sys
import time


class CustomError(Exception):
    pass


def handler(event, context):
    how = event["how"]
    if how == "raise":
        raise CustomError("Handler fails")
    if how == "exit":
        sys.exit(event["status"])
    if how == "_exit":
        os._exit(event["status"])
    if how == "signal":
        os.kill(os.getpid(), event["number"])
        time.sleep(60)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    if how == "sleep":
        time.sleep(600)
    if how == "spin":
        while True:
            pass
    if how == "answer":
        return "x" * (event["size"] - 2)
    if how == "unserialisable":
        return {"value": object()}
    return {"size": len(event.get("filler", ""))}
