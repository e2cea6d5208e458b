"""The engine's process: puts the parts together, serves, drains.

Started by the supervisor, as root or as a user. Its first steps are to make what it
needs reachable, to give up root, and to tie its life to the supervisor's.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from sandlot_engine.errors import SandlotError
from sandlot_engine.options import EngineConfig
from sandlot_engine.reach import make_reachable
from sandlot_sandbox import linux
from sandlot_sandbox.launcher import runtimes
from sandlot_sandbox.probe import EX_CONFIG, missing

_FIRST_LAUNCHER_S = 30.0
log = logging.getLogger("sandlot")


def main() -> int:
    started = time.monotonic()
    config = EngineConfig.from_json(sys.argv[1])
    _give_up_root(config)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="sandlot: %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, started))


def _give_up_root(config: EngineConfig) -> None:
    if os.geteuid() == 0:
        needed = [Path(config.data), Path(sys.prefix), Path(sys.base_prefix)]
        needed += [Path(path) for path in sys.path if Path(path).is_dir()]
        needed += [Path(path) for path in (config.tls_cert, config.tls_key) if path]
        make_reachable(needed, uid=config.uid)
        os.setgroups([])
        os.setresgid(config.gid, config.gid, config.gid)
        os.setresuid(config.uid, config.uid, config.uid)
    os.umask(0o077)
    # Two for each instance; and what is on its way to a jail counts until it is read.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    linux.set_no_new_privileges()
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    if os.getppid() != config.supervisor_pid:
        raise SystemExit("the supervisor is gone")


async def _serve(config: EngineConfig, started: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with _running(config) as facts:
            _announce(config, facts, time.monotonic() - started)
            await stop.wait()
            log.info("draining")
    except (_Refused, SandlotError, BaseExceptionGroup) as error:
        refused = _refusal_in(error)
        if refused is None:
            raise
        print(f"sandlot: {refused}", file=sys.stderr)  # noqa: T201 - the operator's terminal
        return EX_CONFIG
    return 0


class _Refused(Exception):
    pass


def _refusal_in(error: BaseException) -> Exception | None:
    """What the operator is to be told; task groups wrap what went through them."""
    if isinstance(error, BaseExceptionGroup):
        found = (_refusal_in(inner) for inner in error.exceptions)
        return next((refused for refused in found if refused is not None), None)
    return error if isinstance(error, _Refused | SandlotError) else None


class _Facts:
    """What the Ready line says."""

    def __init__(self, grpc: str, http: str, mode: str, given_up: list[str]) -> None:
        self.grpc = grpc
        self.http = http
        self.mode = mode
        self.given_up = given_up


@asynccontextmanager
async def _running(config: EngineConfig) -> AsyncIterator[_Facts]:
    """Everything, from the bottom up; undone from the top down."""
    # Imported late, so that a supervisor that is gone is noticed first, and cheaply.
    from sandlot_engine.catalog.code import CodeStore
    from sandlot_engine.catalog.functions import Functions, Prepared
    from sandlot_engine.catalog.seal import Sealer
    from sandlot_engine.catalog.tenants import Tenants
    from sandlot_engine.clock import SystemClock
    from sandlot_engine.gateway.http import serve as serve_http
    from sandlot_engine.gateway.ports import Backend
    from sandlot_engine.gateway.rpc.server import Tls, serve
    from sandlot_engine.invocation.invoker import Invoker
    from sandlot_engine.model.function import Function, Revision
    from sandlot_engine.node.instances import NodeMachine, log_lines
    from sandlot_engine.node.node import Node
    from sandlot_engine.scheduler.scheduler import Scheduler
    from sandlot_engine.store.sqlite import SqliteStore

    data = Path(config.data)
    clock = SystemClock()
    known = runtimes.from_json(config.runtimes)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(SqliteStore.open(data / "sandlot.db"))
        codes = await enter(CodeStore(data / "code"))
        tenants = Tenants(store, Sealer.open(data / "master.key"), clock=clock)
        first_key = await tenants.ensure_operator()
        if first_key is not None:
            key, secret = first_key
            _write_private(
                data / "operator.json",
                {
                    "tenant_id": key.tenant_id,
                    "access_key_id": key.id,
                    "secret_access_key": secret,
                },
            )
        node = await enter(
            Node.running(
                unpack=lambda revision: codes.unpacked(revision.code),
                printed=lambda function, lines: store.append_log(
                    function.tenant_id, function.name, log_lines("", lines)
                ),
                region=config.region,
            )
        )
        await _first_launcher(config, node, stack)
        scheduler = await enter(
            Scheduler.running(NodeMachine(node), clock=clock, idle_s=config.idle_s)
        )

        async def prepare(function: Function, revision: Revision, _: Path) -> Prepared:
            reason = await node.host(function, revision).prepare()
            return Prepared(fork_safe=not reason, reason=reason)

        async def retire(_tenant: str, _name: str, revision_id: str) -> None:
            await scheduler.drain(revision_id)
            node.retire(revision_id)

        functions = await enter(
            Functions(
                store,
                codes,
                clock=clock,
                runtimes=lambda: [runtime.name for runtime in known],
                prepare=prepare,
                retire=retire,
                region=config.region,
            )
        )
        invoker = await enter(
            Invoker(
                functions=functions,
                quotas=tenants,
                runner=scheduler,
                records=store,
                clock=clock,
            )
        )
        backend = Backend(
            functions=functions,
            tenants=tenants,
            invoker=invoker,
            records=store,
            status=lambda: _status(node, known),
            clock=clock,
            region=config.region,
        )
        tls = None
        if config.tls_cert:
            tls = Tls(
                certificate=await asyncio.to_thread(Path(config.tls_cert).read_bytes),
                key=await asyncio.to_thread(Path(config.tls_key).read_bytes),
            )
        port = await enter(
            serve(
                backend,
                address=config.grpc,
                tls=tls,
                allow_plaintext=config.allow_plaintext,
            )
        )
        http_port = await enter(serve_http(backend, address=config.http))
        host = config.grpc.rpartition(":")[0]
        http_host = config.http.rpartition(":")[0]
        hello = node.hello
        assert hello is not None  # noqa: S101
        yield _Facts(
            grpc=f"{host}:{port}",
            http=f"http://{http_host}:{http_port}",
            mode=hello.mode,
            given_up=[layer.name for layer in hello.layers if layer.given_up],
        )


async def _first_launcher(
    config: EngineConfig, node: Any, stack: contextlib.AsyncExitStack
) -> None:
    """Wait for the launcher and its findings; then take replacements as they come."""
    from sandlot_sandbox.errors import LauncherLost
    from sandlot_sandbox.host.mail import Mail

    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    adopting: set[asyncio.Task[None]] = set()

    async def adopt(channel: socket.socket) -> None:
        try:
            hello = await node.adopt_launcher(channel)
        except LauncherLost as error:
            # The supervisor sees it, too, and sends another or gives up.
            log.warning("%s", error)
            return
        if lacking := missing(hello.layers):
            rows = "\n".join(
                f"  {x.name}: stops {x.stops}. {x.detail}" for x in lacking
            )
            refused = _Refused(
                "this machine cannot enforce what tenants must be held to:\n"
                f"{rows}\nSee `sandlot doctor`. To do without seccomp or network:"
                " --insecure-NAME."
            )
            if not first.done():
                first.set_exception(refused)
        elif not first.done():
            first.set_result(None)

    def hear(_: bytes, descriptors: list[int]) -> None:
        for fd in descriptors:
            task = asyncio.get_running_loop().create_task(
                adopt(socket.socket(fileno=fd))
            )
            adopting.add(task)
            task.add_done_callback(adopting.discard)

    control = Mail(
        socket.socket(fileno=config.control),
        max_size=64,
        max_descriptors=1,
        on_message=hear,
        # The kernel ends us with the supervisor; there is nothing left to do.
        on_close=lambda: None,
    )
    stack.callback(control.close)
    try:
        async with asyncio.timeout(_FIRST_LAUNCHER_S):
            await first
    except TimeoutError:
        raise _Refused("the launcher did not start; its messages are above") from None


async def _status(node: Any, known: list[runtimes.Runtime]) -> Any:
    from sandlot_engine.gateway.ports import EngineStatus, IsolationLayer, Runtime

    hello = node.hello
    return EngineStatus(
        version=_version(),
        mode=hello.mode,
        layers=tuple(
            IsolationLayer(
                name=layer.name,
                stops=layer.stops,
                holds=layer.holds,
                detail=layer.detail,
                given_up=layer.given_up,
            )
            for layer in hello.layers
        ),
        runtimes=tuple(Runtime(name=r.name, version=r.version) for r in known),
        zygotes=node.zygotes,
        instances=node.instances,
    )


def _announce(config: EngineConfig, facts: _Facts, took_s: float) -> None:
    """Write where we are for the other commands, then the line that tools wait for."""
    data = Path(config.data)
    credentials = data / "operator.json"
    pid = config.supervisor_pid
    _write_private(
        data / "engine.json",
        {
            "grpc": facts.grpc,
            "http": facts.http,
            "pid": pid,
            "tls": bool(config.tls_cert),
        },
    )
    if config.as_json:
        line = json.dumps(
            {
                "http": facts.http,
                "grpc": facts.grpc,
                "pid": pid,
                "credentials_file": str(credentials),
            }
        )
    else:
        without = f" WITHOUT {', '.join(facts.given_up)}" if facts.given_up else ""
        line = (
            f"Ready in {took_s:.1f} s · grpc {facts.grpc} · {facts.http}"
            f" · {facts.mode}{without} · data {data}"
        )
    print(line, flush=True)  # noqa: T201 - the one line on stdout


def _version() -> str:
    try:
        return importlib.metadata.version("sandlot")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _write_private(path: Path, value: dict[str, object]) -> None:
    """Whole or not at all, for its owner alone."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(value, file)
        file.write("\n")
    temporary.rename(path)


if __name__ == "__main__":
    sys.exit(main())
