"""What a worker is told at its start; on its command line, so no secrets."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker is told; the same for all of them."""

    http: str
    """`HOST:PORT`, with the port that the core found."""

    grpc: str
    tls_cert: str
    tls_key: str
    region: str
    http_connections: int
    grpc_connections: int
    folder: int
    """A descriptor of the folder with the core's own two sockets."""


CORE_HTTP, CORE_GRPC = "core-http.sock", "core-grpc.sock"
"""Where the core takes what workers forward, in that folder."""


def core_path(folder: int, name: str) -> str:
    """By way of the descriptor: the folder's own path may be longer than a socket's can
    be."""
    return f"/proc/self/fd/{folder}/{name}"
