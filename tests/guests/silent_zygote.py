"""Says that it is ready, as the zygote would, takes each fork, and never says or does
anything again. Or, where it is to be, is silent from its import on."""

import os
import signal
import socket
import struct

channel = socket.socket(fileno=os.dup(3))
if os.environ.get("SILENT") == "from its import on":
    while True:
        signal.pause()
channel.send(struct.pack("!BxxxIi", 1, 0, 0))
while True:
    socket.recv_fds(channel, 65536, 16)  # and keeps what came with it


def handler(event, context):
    pass
