"""Somebody who asks for far more than a share: a process of its own, as a neighbour is.

`python -m benchmarks.noise GRPC RATE SECONDS`, with its key on stdin as two lines.
Writes what became of its invocations as one JSON object.
"""

import json
import os
import sys

import uvloop

from benchmarks.callers import GrpcCaller
from benchmarks.openloop import evenly, offer
from sandlot.v1 import invocations_pb2 as pb

FUNCTION = "noisy"
PATIENCE_S = 5.0
LATEST_S = 0.5


async def main(address: str, rate: float, seconds: float) -> None:
    access_key_id, secret = sys.stdin.read().split()
    bearer = f"Bearer {access_key_id}:{secret}"
    caller = GrpcCaller(
        address,
        pb.InvokeRequest(function=FUNCTION, payload=b"{}"),
        (("authorization", bearer),),
        timeout_s=PATIENCE_S,
    )
    load = await offer(list(evenly(rate, seconds)), caller, latest_s=LATEST_S)
    told = {
        "arrivals": load.arrivals,
        "answered": len(load.answered_s),
        "throttled": load.throttled,
        "failed": load.failures,
        "unsent": load.unsent,
        "offered_per_s": (load.arrivals - load.unsent) / load.took_s,
    }
    print(json.dumps(told), flush=True)
    # Thousands of calls that were given up need not be taken apart one by one.
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
