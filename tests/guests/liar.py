"""Writes to its channel what the runtime would not."""

import os
import struct
import threading
import time

READY, ANSWER, ERROR, INIT_ERROR = 1, 2, 3, 4


def frame(kind, payload, size=None, type_length=0):
    size = len(payload) if size is None else size
    return struct.pack("!BxHIQ", kind, type_length, size, 1) + payload


def oversize():
    os.write(3, frame(ANSWER, b"", size=6_291_557))


def huge():
    os.write(3, frame(ANSWER, b"", size=0xFFFFFFFF))


def long_type():
    os.write(3, frame(ERROR, b"", type_length=0xFFFF))


def unknown_kind():
    os.write(3, frame(9, b"{}"))


def ready_again():
    os.write(3, frame(READY, b""))


def init_error():
    os.write(3, frame(INIT_ERROR, b"{}"))


def two_answers():
    os.write(3, frame(ANSWER, b"1") + frame(ANSWER, b"2"))


def extra_bytes():
    os.write(3, frame(ANSWER, b"1") + b"x")


def noise():
    os.write(3, os.urandom(65536))


def part():
    os.write(3, frame(ANSWER, b"12", size=3))


def part_of_a_header():
    os.write(3, frame(ANSWER, b"")[:5])


def nothing():
    pass


def closed():
    os.close(3)


def later(step):
    """Once the answer of the invocation that is running has gone, most likely, and before
    the instance is frozen; or else when it is thawed."""

    def run():
        while not handler.has_answered.is_set():
            time.sleep(0.001)
        time.sleep(0.002)
        step()

    threading.Thread(target=run, daemon=True).start()


def handler(event, context):
    step = globals()[event["do"]]
    if event.get("later"):
        handler.has_answered = threading.Event()
        later(step)
        handler.has_answered.set()
        return "wait for it"
    step()
    time.sleep(60)
