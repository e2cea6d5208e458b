"""A zygote that reads events itself, works on them, and says that nothing was forked."""

import os
import socket
import sys
import time

frames = sys.modules["sandlot_sandbox.frames"]
zygote = sys.modules["sandlot_sandbox.guest.zygote"]
WORK_S = float(os.environ["WORK_S"])
kept = []


def fork(_, number, descriptors, **how):
    channel = socket.socket(fileno=os.dup(descriptors[3]))
    kept.append(channel)
    _, payload = frames.read_event(channel, channel.recv(65_536))
    until = time.monotonic() + WORK_S
    while time.monotonic() < until:
        pass
    raise OSError("\x1b]0;pwn\x07\nsandlot: ERROR forged, answer of %r" % payload)


sys.modules["sandlot_sandbox.guest.fork_loop"].is_possible = lambda: False
zygote._Zygote._fork = fork


def handler(event, context):
    pass
