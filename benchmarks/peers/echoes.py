"""Servers that answer at once: what sockets, protocol and client take by themselves.

Run as a program it is one of them: `python -m benchmarks.peers.echoes http|grpc`
writes its port, and serves until its stdin is closed. Both are the servers that the
engine has, with the same options, and nothing behind them.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import uvicorn
import uvloop

from benchmarks.jails import TIMEOUT_S
from sandlot.v1 import invocations_pb2 as pb

ANSWER = b'{"sum": 42}'
_ROOT = Path(__file__).parents[2]


@contextmanager
def echo_server(kind: str) -> Iterator[int]:
    """`http` or `grpc`: its port on 127.0.0.1; ended when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.echoes", kind],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None  # noqa: S101
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {kind} echo did not start")
        yield int(line)
    finally:
        try:
            process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _serve_http(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(ANSWER)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


async def _http() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server = uvicorn.Server(
        uvicorn.Config(
            _serve_http,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
        )
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        print(listener.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True


async def _invoke(
    _request: pb.InvokeRequest, _context: grpc.aio.ServicerContext[Any, Any]
) -> pb.InvokeResponse:
    return pb.InvokeResponse(payload=ANSWER)


async def _grpc() -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        _invoke,
        request_deserializer=pb.InvokeRequest.FromString,
        response_serializer=pb.InvokeResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "sandlot.v1.InvocationService", {"Invoke": handler}
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    uvloop.run({"http": _http, "grpc": _grpc}[sys.argv[1]]())
