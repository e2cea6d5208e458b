"""Says that it is ready, as the zygote would, and hangs up."""

import os
import signal
import socket
import struct

channel = socket.socket(fileno=os.dup(3))
channel.send(struct.pack("!BxxxIi", 1, 0, 0))
channel.close()
os.close(3)
while True:
    signal.pause()


def handler(event, context):
    pass
