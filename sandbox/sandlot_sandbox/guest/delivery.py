"""Takes events of the Telemetry API to an extension, within the instance's own network.

Runs in a process of the tenant's, for the tenant: it reaches what the extension itself
could reach, and nothing else.
"""

from __future__ import annotations

import socket

_LIMIT_S = 10.0
"""For each step: an extension that does not listen keeps us no longer."""

_MAX_REPLY = 65_536


def deliver(destination: str, body: bytes) -> None:
    """Raises `OSError` where it did not arrive. `destination` has protocol, port, and
    for HTTP a method and a path."""
    protocol, port, method, path = destination.split(" ", 3)
    with socket.create_connection(("127.0.0.1", int(port)), timeout=_LIMIT_S) as to:
        if protocol == "TCP":
            to.sendall(body)
            return
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        to.sendall(head.encode() + body)
        reply = b""
        while b"\r\n" not in reply and len(reply) < _MAX_REPLY:
            data = to.recv(_MAX_REPLY)
            if not data:
                break
            reply += data
        if not reply.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
            raise OSError("it was not taken")
