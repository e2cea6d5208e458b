"""A worker's process: its two gateways, what it was told, what it was lent.

Started by the core, by `exec`, with the core's user and no privilege. Its first steps
are those of the engine: it can gain nothing, shows itself to nobody, and dies with the
core.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from sandlot.v1 import invocations_pb2 as wire
from sandlot_engine import garbage
from sandlot_engine.clock import SystemClock
from sandlot_engine.gateway import faulted, untaken
from sandlot_engine.gateway.auth import Authenticator
from sandlot_engine.gateway.aws.invoke import Invoke
from sandlot_engine.gateway.aws.receiving import Receiver
from sandlot_engine.gateway.http import listen, serve_app
from sandlot_engine.gateway.rpc.door import Door
from sandlot_engine.gateway.rpc.interceptors import Steps
from sandlot_engine.gateway.rpc.invocations import run_invocation
from sandlot_engine.gateway.rpc.listeners import Tls, serving
from sandlot_engine.gateway.rpc.server import (
    DRAIN_S,
    make_server,
    public_methods,
)
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.log_format import log_to_operator
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import Epochs, Marks
from sandlot_engine.workers.forward_grpc import ForwardGrpc
from sandlot_engine.workers.forward_http import ForwardHttp
from sandlot_engine.workers.grpc_face import Calls
from sandlot_engine.workers.http_face import WorkerApp
from sandlot_engine.workers.leases import Leases
from sandlot_engine.workers.ledger import LedgerWriter
from sandlot_engine.workers.replica import Replica
from sandlot_engine.workers.settings import (
    CORE_GRPC,
    CORE_HTTP,
    WorkerSettings,
    core_path,
)
from sandlot_sandbox import linux
from sandlot_sandbox.host.mail import Mail
from sandlot_sandbox.stamps import stamp


def main() -> int:
    garbage.put_off()
    given: dict[str, Any] = json.loads(sys.argv[1])
    linux.set_no_new_privileges()
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    if os.getppid() != given.pop("core"):
        raise SystemExit("the core is gone")
    os.umask(0o077)
    log_to_operator(stamp)
    own = {name: given.pop(name) for name in ("control", "ledger", "marks", "epochs")}
    for fd in own.values():
        os.set_inheritable(fd, False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(WorkerSettings(**given), **own))
    return 0


async def _serve(
    settings: WorkerSettings, *, control: int, ledger: int, marks: int, epochs: int
) -> None:
    """Make the parts, as `assembly/running.py` has the core's; serve till drained."""
    draining = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The core says when: a signal to the whole group is meant for it.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: None)
    mail = Mail(
        socket.socket(fileno=control),
        max_size=messages.MAX_MESSAGE,
        max_descriptors=messages.MAX_DESCRIPTORS,
        on_message=lambda data, fds: hear(messages.decode_from_core(data), fds),
        on_close=partial(_fail, "the core is gone"),
    )

    def tell(message: messages.FromWorker) -> None:
        mail.send(messages.encode(message))

    untaken.tally.tell = lambda is_cut: tell(messages.Untaken(is_cut))
    faulted.tally.tell = lambda: tell(messages.Faulted())
    clock = SystemClock()
    replica = Replica(Epochs(epochs), tell)
    leases = Leases(
        replica,
        marks=Marks(marks),
        ledger=LedgerWriter(socket.socket(fileno=ledger)),
        tell=tell,
        clock=clock,
        region=settings.region,
        fail=_fail,
    )

    def hear(message: messages.FromCore, descriptors: list[int]) -> None:
        match message:
            case messages.Key() | messages.Tenant() | messages.Route():
                replica.hear(message)
            case messages.Lend():
                leases.lend(message, descriptors)
            case messages.Drain():
                draining.set()
            case messages.Hurry():
                invoker.hurry()
            case _:
                leases.hear(message)

    # Not entered: events, keys and what outlives its caller are the core's.
    none: Any = _NoStore()
    invoker = Invoker(
        functions=replica,
        quotas=replica,
        runner=leases,
        records=leases,
        event_store=none,
        answers=none,
        clock=clock,
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        grpc_port = await enter(_grpc(settings, replica, invoker, leases.want))
        http_port = await enter(_http(settings, replica, invoker, leases.want))
        garbage.settle()
        tell(messages.Serving(http_port, grpc_port))
        await draining.wait()
    leases.close()
    await leases.wait_empty()
    mail.close()


class _NoStore:
    """A worker has no database."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a worker has no store to {name!r} in")


@asynccontextmanager
async def _http(
    settings: WorkerSettings,
    replica: Replica,
    invoker: Invoker,
    want: Callable[[messages.Address], None],
) -> AsyncIterator[int]:
    clock = SystemClock()
    forward = ForwardHttp(core_path(settings.folder, CORE_HTTP))
    invoke = Invoke(
        policies=replica,
        invoker=invoker,
        clock=clock,
        receiver=Receiver(replica, clock),
    )
    listener = listen(settings.http, is_shared=True)
    async with serve_app(
        WorkerApp(invoke, forward, want),
        listener,
        max_connections=settings.http_connections,
    ):
        yield int(listener.getsockname()[1])
    forward.close()


@asynccontextmanager
async def _grpc(
    settings: WorkerSettings,
    replica: Replica,
    invoker: Invoker,
    want: Callable[[messages.Address], None],
) -> AsyncIterator[int]:
    clock = SystemClock()
    forward = ForwardGrpc(core_path(settings.folder, CORE_GRPC))

    async def run(request: wire.InvokeRequest) -> wire.InvokeResponse:
        return await run_invocation(request, invoker, clock)

    door = Door()
    steps = Steps(
        Authenticator(replica), clock, door, public=public_methods(settings.grpc)
    )
    try:
        async with serving(
            partial(make_server, Calls(run, forward, want), (steps,)),
            address=settings.grpc,
            tls=_tls(settings),
            max_connections=settings.grpc_connections,
            drain_s=DRAIN_S,
            cut_short=steps.open.cut_short,
            is_shared=True,
        ) as port:
            try:
                yield port
            finally:
                await door.close()
                steps.open.send_strangers_away()
    finally:
        await forward.close()


def _tls(settings: WorkerSettings) -> Tls | None:
    if not settings.tls_cert:
        return None
    return Tls(
        certificate=Path(settings.tls_cert).read_bytes(),
        key=Path(settings.tls_key).read_bytes(),
    )


def _fail(why: str) -> None:
    """At once: the core takes up what is left."""
    print(f"{stamp()}sandlot: a worker ends: {why}", file=sys.stderr)  # noqa: T201 - the last word
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
