"""`python -m benchmarks.load.echo http|grpc`: the engine's server stack, and nothing
behind it: what is sent comes back. Prints its port. The floor of what is measured."""

import asyncio
import signal
import socket
import sys
from typing import Any

import grpc
import grpc.aio
import uvicorn
import uvloop

from sandlot.v1 import invocations_pb2 as wire
from sandlot_sandbox import linux


async def _echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _http() -> None:
    config = uvicorn.Config(
        _echo,
        http="httptools",
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    _say(listener.getsockname()[1])
    await uvicorn.Server(config).serve(sockets=[listener])


async def _invoke(request: wire.InvokeRequest, _: object) -> wire.InvokeResponse:
    return wire.InvokeResponse(payload=request.payload)


async def _grpc() -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        _invoke,
        request_deserializer=wire.InvokeRequest.FromString,
        response_serializer=wire.InvokeResponse.SerializeToString,
    )
    service = "sandlot.v1.InvocationService"
    handlers = grpc.method_handlers_generic_handler(service, {"Invoke": handler})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _say(port)
    await server.wait_for_termination()


def _say(port: int) -> None:
    print(port, flush=True)


if __name__ == "__main__":
    # As all that a benchmark starts: it ends with whoever started it.
    linux.set_death_signal(signal.SIGKILL)
    uvloop.run({"http": _http, "grpc": _grpc}[sys.argv[1]]())
    asyncio.set_event_loop(None)
