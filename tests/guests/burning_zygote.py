"""Says that it is ready, as the zygote would, and then burns its processor for nothing."""

import os
import socket
import struct

channel = socket.socket(fileno=os.dup(3))
channel.send(struct.pack("!BxxxIi", 1, 0, 0))
while True:
    pass


def handler(event, context):
    pass
