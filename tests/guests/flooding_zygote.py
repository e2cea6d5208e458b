"""Says without end that it is ready."""

import os
import socket
import struct

channel = socket.socket(fileno=os.dup(3))
while True:
    channel.send(struct.pack("!BxxxIi", 1, 0, 0))


def handler(event, context):
    pass
