"""Connects to itself without end, at its import, and accepts nobody."""

import socket

servers = []
while True:
    servers.append(socket.create_server(("127.0.0.1", 0), backlog=4096))
    for _ in range(4000):
        socket.create_connection(servers[-1].getsockname()).close()


def handler(event, context):
    pass
