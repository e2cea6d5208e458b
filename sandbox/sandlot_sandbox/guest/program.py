"""Python's runtime as a program of its own: for functions whose layers have extensions,
or that have a wrapper script. Started anew for each instance, it imports the handler
and asks the Runtime API for one event after another.

What an instance that is a clone does in `instance.py`, this does over HTTP. Its script
is exec'd by an interpreter that may have been wrapped by anything.
"""

from __future__ import annotations

import base64
import os
import socket
import sys

_RUNTIME = "/var/runtime"
if __name__ == "__main__":
    # In place of this file's folder, whose modules nobody may import by their names.
    sys.path[0] = _RUNTIME

from sandlot_sandbox import frames  # noqa: E402 - found only now
from sandlot_sandbox.guest import (  # noqa: E402
    awslambdaricmain,  # noqa: F401 - see there
    failures,
    handler,
    instance,
    streaming,
    zygote,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_API = "AWS_LAMBDA_RUNTIME_API"
_BASE = "/2018-06-01/runtime"
_TYPE = "Lambda-Runtime-Function-Error-Type"
_BODY = "Lambda-Runtime-Function-Error-Body"
_MODE = "Lambda-Runtime-Function-Response-Mode"
_READ = 1 << 16


class Client:
    """A connection to the Runtime API, which answers in the plainest HTTP: whole heads,
    and lengths."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host = address
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[dict[str, str], bytes]:
        """The reply's headers, by lower-case names, and its body."""
        given = {"Content-Length": str(len(body)), **headers}
        self._socket.sendall(self._head(method, path, given) + body)
        return self._reply()

    def begin(self, path: str, content_type: str) -> None:
        """A call whose body comes in chunks."""
        headers = {
            "Content-Type": content_type,
            _MODE: "streaming",
            "Transfer-Encoding": "chunked",
            "Trailer": f"{_TYPE}, {_BODY}",
        }
        self._socket.sendall(self._head("POST", path, headers))

    def send_chunk(self, data: bytes) -> None:
        """Waits while nobody reads."""
        if data:
            self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, trailers: dict[str, str]) -> None:
        """That was the last chunk."""
        self._socket.sendall(b"0\r\n" + _lines(trailers) + b"\r\n")
        self._reply()

    def _head(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        line = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        return line.encode() + _lines(headers) + b"\r\n"

    def _reply(self) -> tuple[dict[str, str], bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")[1:]
        found = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in found}
        parts = bytearray(body)
        while len(parts) < int(headers.get("content-length", "0")):
            parts += self._more()
        return headers, bytes(parts)

    def _more(self) -> bytes:
        data = self._socket.recv(_READ)
        if not data:
            raise ConnectionError("the Runtime API hung up")
        return data


def _lines(headers: dict[str, str]) -> bytes:
    named = (
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
    )
    return "".join(named).encode("utf-8", "replace")


def main() -> int:
    """What to exit with, where there is nothing to serve."""
    sys.path.remove(_RUNTIME)
    zygote.set_up()
    client = Client(os.environ[_API])
    loaded = handler.load_handler(os.environ.get("_HANDLER", ""))
    if isinstance(loaded, failures.Failure):
        handler.print_init_failure(loaded)
        payload = failures.error_payload(loaded, "")
        client.call("POST", f"{_BASE}/init/error", payload, **_typed(loaded.error_type))
        return 1
    while True:
        headers, event = client.call("GET", f"{_BASE}/invocation/next")
        _serve(client, loaded, headers, event)


def _serve(
    client: Client, function: Any, headers: dict[str, str], event: bytes
) -> None:
    def told(name: str) -> str:
        return headers.get(f"lambda-runtime-{name}", "")

    request_id = told("aws-request-id")
    path = f"{_BASE}/invocation/{request_id}"
    header = frames.EventHeader(
        request_id,
        int(told("deadline-ms")),
        told("invoked-function-arn"),
        told("client-context"),
        told("trace-id"),
        told("aws-tenant-id"),
    )
    made = instance.prepare(header)

    pieces = streaming.Pieces(
        lambda kind: client.begin(f"{path}/response", kind.decode()),
        client.send_chunk,
    )
    if isinstance(made, failures.Failure):
        answer = handler.failed(made, request_id)
    else:
        answer = handler.invoke(function, event, made, pieces)
    instance.flush()
    if pieces.has_begun:
        body = base64.b64encode(answer.payload).decode()
        client.end({} if answer.ok else {**_typed(answer.error_type), _BODY: body})
    elif answer.ok:
        client.call("POST", f"{path}/response", answer.payload)
    else:
        client.call(
            "POST", f"{path}/error", answer.payload, **_typed(answer.error_type)
        )


def _typed(error_type: str) -> dict[str, str]:
    plain = "".join(char for char in error_type if char.isprintable())
    return {_TYPE: plain}


if __name__ == "__main__":
    sys.exit(main())
