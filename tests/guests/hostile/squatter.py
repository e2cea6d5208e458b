"""Keeps the control groups of its dead instances, and hides processes in them.

The descriptors by which an instance joins its groups go through the zygote, which is
the tenant's: eight helpers wait for them, and then hold memory and burn a processor.
A helper is in them before the instance is forked: once that is dead they may be gone.
"""

import os
import socket

from sandlot_sandbox.guest import fork_loop

receive = socket.recv_fds
helpers = []
JOINS = ("/tasks", "/cgroup.procs")
"""Of v1, where there are several, and of v2."""


def squat(channel):
    try:
        _, joins, _, _ = receive(channel, 10, 8)
        for join in joins:
            os.write(join, b"0")
        channel.send(b"in")
        kept = bytearray(100 << 20)
        kept[::4096] = bytes(len(kept) // 4096)
        while True:
            pass
    finally:
        os._exit(1)


def receive_and_hire(*arguments):
    found = receive(*arguments)
    descriptors = found[1]
    joins = [
        d for d in descriptors if os.readlink(f"/proc/self/fd/{d}").endswith(JOINS)
    ]
    if joins:
        if not helpers:
            for _ in range(8):
                ours, theirs = socket.socketpair()
                if os.fork() == 0:
                    squat(theirs)
                theirs.close()
                helpers.append(ours)
        if len(helpers) > 1:
            with helpers.pop() as helper:
                socket.send_fds(helper, [b"x"], joins)
                helper.recv(2)
    return found


fork_loop.is_possible = lambda: False
socket.recv_fds = receive_and_hire


def handler(event, context):
    return "ok"
