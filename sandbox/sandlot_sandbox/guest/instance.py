"""An instance: a clone of the zygote in a cell of its own, one event at a time.

The steps of `enter_cell` are the last that are ours alone; `run` then shares its
process with the tenant's code, and everything it sends is the tenant's word.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import time
from typing import Any, NamedTuple

from sandlot_sandbox import frames, limits, linux
from sandlot_sandbox.guest import (
    context,
    failures,
    handler,
    hooks,
    logging_setup,
    uniqueness,
)

_CHANNEL = 3
_MAX_EXIT = 255


class Cell(NamedTuple):
    """The descriptors that came with the fork."""

    pid_namespace: int
    mounts: int
    network: int
    channel: int
    log: int


def enter_cell(cell: Cell, *, ours: tuple[int, ...], seccomp: bytes | None) -> None:
    """Takes away: the zygote's /tmp, processes and loopback, its channel, its log, the
    capabilities that entering took, and the calls that did it. Dies if a step fails."""
    try:
        linux.setns(cell.mounts, linux.CLONE_NEWNS)
        _enter_network(cell.network)
        os.chdir("/var/task")
        os.dup2(cell.log, 1)
        os.dup2(cell.log, 2)
        # Closes the zygote's channel; the instance's takes its number.
        os.dup2(cell.channel, _CHANNEL, inheritable=False)
        for fd in (*cell, *ours):
            os.close(fd)
        limits.apply_to_instance()
        linux.drop_capabilities()
        if seccomp is not None:
            linux.load_filter(seccomp)
    except BaseException as error:  # noqa: BLE001 - nobody may run on half a jail
        os.write(2, f"sandlot: the cell could not be entered: {error}\n".encode())
        os._exit(1)


def _enter_network(network: int) -> None:
    try:
        linux.setns(network, linux.CLONE_NEWNET)
    except PermissionError:
        # Where the operator gave that layer up, it is the one that we are in.
        if os.fstat(network).st_ino != os.stat("/proc/self/ns/net").st_ino:
            raise


def run(function: Any, settings: dict[str, Any]) -> None:
    """Initialise, announce, serve events until the channel is closed. Never returns."""
    status = 1
    try:
        status = _live(function, settings)
    except SystemExit as error:
        status = _exit_status(error)
    except BaseException:  # noqa: BLE001 - the interpreter would do the same
        sys.excepthook(*sys.exc_info())
    finally:
        _flush()
        os._exit(status)


def _live(function: Any, settings: dict[str, Any]) -> int:
    channel = socket.socket(fileno=_CHANNEL)
    stream = (
        f"{time.strftime('%Y/%m/%d')}/[{settings['version']}]{os.urandom(16).hex()}"
    )
    os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = stream
    if function is None:
        loaded = handler.load_handler(settings["handler"])
        failure = loaded if isinstance(loaded, failures.Failure) else None
        function = loaded
    else:
        failure = uniqueness.reseed() or hooks.run_after_restore()
    if failure is not None:
        handler.print_init_failure(failure)
        payload = failures.error_payload(failure, "")
        _flush()
        _send(channel, frames.INIT_ERROR, payload, failure.error_type)
        return 1
    _send(channel, frames.READY, b"")
    while (event := frames.read_event(channel)) is not None:
        _serve(channel, function, *event)
    return 0


def _serve(
    channel: socket.socket, function: Any, header: dict[str, Any], payload: bytes
) -> None:
    request_id = header["request_id"]
    logging_setup.set_request_id(request_id)
    trace = header.get("trace_id")
    if trace:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    made = context.make(
        request_id=request_id,
        deadline_ms=header["deadline_ms"],
        function_arn=header["function_arn"],
        client_context_json=header.get("client_context", ""),
    )
    if isinstance(made, failures.Failure):
        answer = handler.failed(made, request_id)
    else:
        answer = handler.invoke(function, payload, made)
    _flush()
    kind = frames.ANSWER if answer.ok else frames.ERROR
    _send(channel, kind, answer.payload, answer.error_type)


def _send(
    channel: socket.socket, kind: int, payload: bytes, error_type: str = ""
) -> None:
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    channel.sendall(
        frames.encode_answer(
            kind, payload, error_type=error_type, peak_memory_kb=peak_kb
        )
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # The tenant may have put anything there.
        with contextlib.suppress(Exception):
            stream.flush()


def _exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & _MAX_EXIT
    print(error.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1
