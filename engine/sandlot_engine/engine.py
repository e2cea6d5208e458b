"""The engine's process: gives up root, serves, drains.

Started by the supervisor, as root or as a user. Its first steps are to make what it
needs reachable, to give up root, and to tie its life to the supervisor's.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path

import uvloop

from sandlot_engine import disk, garbage, priority
from sandlot_engine.assembly.announcing import announce
from sandlot_engine.assembly.machine import Refused
from sandlot_engine.assembly.stopping import Stop
from sandlot_engine.errors import SandlotError, Troubled
from sandlot_engine.log_format import log_to_operator
from sandlot_engine.options import EngineConfig
from sandlot_engine.reach import make_reachable, own_code
from sandlot_engine.refusing import refusal
from sandlot_engine.threads import no_room
from sandlot_sandbox import linux
from sandlot_sandbox.probe import EX_CONFIG
from sandlot_sandbox.stamps import stamp

log = logging.getLogger("sandlot")


def main() -> int:
    started = time.monotonic()
    garbage.put_off()
    config = EngineConfig.from_json(sys.argv[1])
    _give_up_root(config)
    log_to_operator(stamp)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(config, started))
    except RuntimeError as error:
        # Here, as the runner itself wants a thread at the end.
        if not (why := no_room(error)):
            raise
        _refuse(config, why, os.EX_TEMPFAIL)
        return os.EX_TEMPFAIL


def _give_up_root(config: EngineConfig) -> None:
    if os.geteuid() == 0:
        needed = [Path(config.data), *own_code()]
        needed += [Path(path) for path in (config.tls_cert, config.tls_key) if path]
        # What is made now, others have to walk through.
        os.umask(0o022)
        make_reachable(needed, uid=config.uid)
        priority.take()
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
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    try:
        # Not at the top, as it imports all parts: a supervisor that is gone is noticed
        # first, and cheaply.
        from sandlot_engine.assembly.running import running

        async with running(config, stop) as facts:
            garbage.settle()
            announce(config, facts, time.monotonic() - started)
            await stop.wait()
            log.info("draining: calls that run have half a minute to end")
    except asyncio.CancelledError:
        if not stop.was_asked:
            raise
        log.info("stopped before it was ready")
    except (Refused, SandlotError, OSError, BaseExceptionGroup) as error:
        refused = _refusal_in(error, Path(config.data))
        if refused is None:
            raise
        message, status = refused
        _refuse(config, message, status)
        return status
    return 0


def _refuse(config: EngineConfig, message: str, status: int) -> None:
    with contextlib.suppress(OSError):  # a full disk, say
        line = refusal(message, status=status, as_json=config.as_json)
        print(line, file=sys.stderr)  # noqa: T201 - the operator's terminal


def _refusal_in(error: BaseException, data: Path) -> tuple[str, int] | None:
    """What the operator is to be told, and the exit status; task groups wrap what went
    through them."""
    match error:
        case BaseExceptionGroup():
            found = (_refusal_in(inner, data) for inner in error.exceptions)
            return next((refused for refused in found if refused is not None), None)
        case OSError() if disk.is_of_data(error, data):
            return disk.told(error, data), disk.status_of(error)
        case Troubled():
            return str(error), os.EX_TEMPFAIL
        case Refused() | SandlotError():
            return str(error), EX_CONFIG
        case _:
            return None


if __name__ == "__main__":
    sys.exit(main())
