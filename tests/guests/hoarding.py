"""Puts as many open files on their way as it can, and never takes them in."""

import socket


def handler(event, context):
    kept, sent = [], 0
    try:
        while sent < event["up_to"]:
            a, b = socket.socketpair()
            kept += [a, b]
            socket.send_fds(a, [b"x"], [0] * 250)
            sent += 250
    except OSError:
        pass
    handler.kept = kept
    return sent
