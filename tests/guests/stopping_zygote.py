"""Says that it is ready, as the zygote would, and then stops every process it can."""

import os
import signal
import socket
import struct

channel = socket.socket(fileno=os.dup(3))
channel.send(struct.pack("!BxxxIi", 1, 0, 0))
while True:
    try:
        os.kill(-1, signal.SIGSTOP)
    except OSError:
        pass


def handler(event, context):
    pass
