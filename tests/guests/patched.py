"""Puts its own into modules of Python's, as gevent does, and notes who asks for them."""

import os
import select
import signal
import socket
import sys
import time

called = []


def noted(module, name):
    theirs = getattr(module, name)

    def ours(*args, **kwargs):
        called.append(name)
        return theirs(*args, **kwargs)

    setattr(module, name, ours)


class Socket(socket.socket):
    def __init__(self, *args, **kwargs):
        called.append("socket")
        super().__init__(*args, **kwargs)


noted(os, "fork")
noted(os, "waitpid")
noted(select, "poll")
noted(signal, "signal")
noted(time, "sleep")
noted(socket, "socketpair")
socket.socket = Socket
if os.environ.get("BY_PYTHON"):
    # To be opened again for each clone, which machine code does not.
    kept = open(sys.modules[__name__].__file__)


def handler(event, context):
    began = time.time()
    while time.time() < event.get("until", 0.0):
        pass
    return {"began": began, "called": called, "instance": context.log_stream_name}
