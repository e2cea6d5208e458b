"""`python -m benchmarks.load` with JSON on stdin; what it measured, as JSON, on stdout.

Closed loop: each connection has one request on its way. The first `warm_up_s` do not
count; then it counts `answers`, for `seconds` at most. The processor time is this
process's own, so that a figure shows whether it was the client that was measured.
"""

import asyncio
import contextlib
import json
import os
import resource
import sys
import time
from typing import Any

import uvloop

from benchmarks.load.count import Count
from benchmarks.load.grpc2 import GrpcClient, encode_call
from benchmarks.load.http1 import HttpClient

CONNECT_S = 20.0


async def _run(plan: dict[str, Any]) -> dict[str, Any]:
    count = Count(plan["answers"])
    loop = asyncio.get_running_loop()

    def make() -> HttpClient | GrpcClient:
        if plan["kind"] == "http":
            return HttpClient(bytes.fromhex(plan["request"]), count)
        metadata = [(name.encode(), value.encode()) for name, value in plan["metadata"]]
        message = bytes.fromhex(plan["message"])
        return GrpcClient(encode_call(plan["method"], message, metadata), count)

    clients = []
    for number in range(plan["connections"]):
        port = plan["ports"][number % len(plan["ports"])]
        async with asyncio.timeout(CONNECT_S):
            _, client = await loop.create_connection(make, "127.0.0.1", port)
        clients.append(client)
    await asyncio.sleep(plan["warm_up_s"])
    count.is_counting = True
    began, cpu_s = time.perf_counter(), _cpu_s()
    _say("counting")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(plan["seconds"]):
            await count.is_enough.wait()
    count.is_counting = False
    took_s, cpu_s = time.perf_counter() - began, _cpu_s() - cpu_s
    _say("counted")
    count.is_over = True
    await asyncio.wait([client.done for client in clients], timeout=CONNECT_S)
    return {
        "seconds": took_s,
        "cpu_s": cpu_s,
        "latencies_s": [round(each, 6) for each in count.latencies_s],
        "failures": count.failures,
        "first_failure": count.first_failure.decode("latin-1"),
    }


def _say(word: str) -> None:
    print(word, flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    found = uvloop.run(_run(json.load(sys.stdin)))
    # The loop may leave it without; and half of this is no JSON.
    os.set_blocking(sys.stdout.fileno(), True)
    print(json.dumps(found))
