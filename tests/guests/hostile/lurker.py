"""Hides a process in the control group of an instance that ends, for it to be the next
one's: what waits for an instance is nobody's to pay for.

It is there before the instance is forked, as in `squatter.py`, and burns a processor.
"""

import ctypes
import os
import socket

from sandlot_sandbox.guest import fork_loop

receive = socket.recv_fds
hired = []
NAME, PR_SET_NAME = b"lurker", 15
JOINS = ("/tasks", "/cgroup.procs")
"""Of v1, where there are several, and of v2."""


def lurk(channel):
    try:
        _, joins, _, _ = receive(channel, 10, 8)
        for join in joins:
            os.write(join, b"0")
        ctypes.CDLL(None).prctl(PR_SET_NAME, NAME, 0, 0, 0)
        channel.send(b"in")
        while True:
            pass
    finally:
        os._exit(1)


def receive_and_hire(*arguments):
    found = receive(*arguments)
    joins = [
        fd for fd in found[1] if os.readlink(f"/proc/self/fd/{fd}").endswith(JOINS)
    ]
    if joins and not hired:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            lurk(theirs)
        theirs.close()
        hired.append(ours)
        socket.send_fds(ours, [b"x"], joins)
        ours.recv(2)
    return found


fork_loop.is_possible = lambda: False
socket.recv_fds = receive_and_hire


def handler(event, context):
    if event["do"] == "end":
        os._exit(3)
    return "ok"
