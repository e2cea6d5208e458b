"""An instance: a clone of the zygote in a cell of its own, one event at a time.

The steps of `enter_cell` are the last that are ours alone; `run` then shares its
process with the tenant's code, and everything it sends is the tenant's word.

A clone pays for every page that it is the first to write to. So what can be done in
the zygote is done there, and what cannot is kept plain.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import resource
import socket
import sys

from sandlot_sandbox import frames
from sandlot_sandbox.guest import (
    awslambdaricmain,
    context,
    event_loops,
    failures,
    handler,
    hooks,
    logging_setup,
    streaming,
    tmp_files,
    unused_sockets,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from sandlot_sandbox.guest.calls import Prepared

_CHANNEL = 3
_MAX_EXIT = 255
_TRACE = "_X_AMZN_TRACE_ID"
REHEARSALS = 20
"""Enough for the interpreter to settle on specialised instructions, which it would
otherwise write into the code of every clone. What calls a class, or by keyword, it
cannot settle on, and counts each time: so little on this way does."""

_PASSES = 2
"""Of a standby, over the way of an event."""

_Socket = socket.socket
"""The channel's class. The import may put another into the module, as gevent does."""

_FUNCTION = type(lambda: None)
"""Plain ones. What else may be a handler runs code of its own when it is looked at."""


_HAS_SHED = frames.encode_answer(frames.HAS_SHED, b"")
_unread_kb = 0
"""Of the memory that a clone has from its zygote, what it has not come to yet."""


def begin_with(whole_kb: int) -> None:
    """Instances have so much memory from the start, whatever the kernel says of them:
    it counts what they have read (`sealed_memory.py`)."""
    global _unread_kb
    _unread_kb = whole_kb


def enter_cell(way: Prepared) -> None:
    """All of `Entry.calls`. Dies if one fails."""
    try:
        way.make()
    except BaseException as error:  # noqa: BLE001 - nobody may run on half a jail
        os.write(2, f"sandlot: the cell could not be entered: {error}\n".encode())
        os._exit(1)


def run(
    function: Any,
    handler_name: str,
    channel: socket.socket,
    not_unique: failures.Failure | None,
    *,
    is_ahead: bool,
    shed: Callable[[], int],
) -> None:
    """Initialise, announce, serve events until the channel is closed. Never returns.

    `function` is the handler if the zygote has imported it, else None. `channel` was
    the zygote's; behind its descriptor there is the instance's now. `not_unique` is why
    this clone could not be made different from others, if that failed. One that is
    ahead of need writes to its pages before it announces itself. What `shed` gives back
    it has again when it next writes there.
    """
    status = 1
    global _unread_kb
    _unread_kb = max(0, _unread_kb - _peak_read_kb())
    try:
        status = _live(function, handler_name, channel, not_unique, is_ahead, shed)
    except SystemExit as error:
        status = _exit_status(error)
    except BaseException:  # noqa: BLE001 - the interpreter would do the same
        sys.excepthook(*sys.exc_info())
    finally:
        flush()
        os._exit(status)


def rehearse(way: Prepared, shed: Callable[[], int]) -> None:
    """In the zygote: go the way of a clone, so that clones find it trodden. The `way`
    is one that leads nowhere."""
    for _ in range(REHEARSALS):
        with contextlib.suppress(OSError):
            way.make()
        with _pair() as (ours, theirs):
            theirs.sendall(frames.SHED + _event_of_ours())
            theirs.shutdown(socket.SHUT_WR)
            _serve_events(ours.fileno(), ours, _echo, shed)


def _take_pages(function: Any) -> None:
    """In a clone that nobody waits for: go the way of an event, so that the first one
    finds the pages of that way to be the clone's own. And count references to what the
    handler is made of, as a call of it will."""
    if type(function) is _FUNCTION:
        code = function.__code__
        _ = [function, code, function.__globals__, *code.co_consts, *code.co_names]
    # It can do without: the import may have used up all descriptors, say.
    with contextlib.suppress(Exception):
        with _pair() as (ours, theirs):
            for _ in range(_PASSES):
                _serve_an_event_of_ours(ours, theirs)


@contextlib.contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two of the kernel's: the import may have put others into `socket`, as gevent
    does, and of those no clone is to have what the zygote made."""
    ours, theirs = (_Socket(fileno=each.detach()) for each in _socket.socketpair())
    with contextlib.closing(ours), contextlib.closing(theirs):
        yield ours, theirs


def _serve_an_event_of_ours(ours: socket.socket, theirs: socket.socket) -> None:
    """Nothing of the tenant's runs for it."""
    event = _event_of_ours()
    theirs.sendall(event)
    arrived = frames.read_event(ours)
    assert arrived is not None  # noqa: S101
    _serve(ours, _echo, *arrived)
    theirs.recv(len(event) * 2)


def _event_of_ours() -> bytes:
    header = frames.EventHeader("", 0, "")
    return frames.encode_event(header, b'{"key": ["value", 1, null]}')


def _echo(event: object, _: object) -> object:
    return {"event": event}


def _live(
    function: Any,
    handler_name: str,
    channel: socket.socket,
    failure: failures.Failure | None,
    is_ahead: bool,
    shed: Callable[[], int],
) -> int:
    if function is None:
        function = handler.load_handler(handler_name)
        failure = function if isinstance(function, failures.Failure) else None
    elif failure is None:
        failure = take_up() or hooks.run_after_restore()
    if failure is not None:
        handler.print_init_failure(failure)
        payload = failures.error_payload(failure, "")
        awslambdaricmain.tell_of_init_error(payload)
        flush()
        answer = frames.encode_answer(
            frames.INIT_ERROR,
            payload,
            error_type=failure.error_type,
            peak_memory_kb=_peak_kb(),
        )
        channel.sendall(answer)
        return 1
    if is_ahead:
        _take_pages(function)
    _serve_events(_CHANNEL, channel, function, shed)
    return 0


def _serve_events(
    descriptor: int, channel: socket.socket, function: Any, shed: Callable[[], int]
) -> None:
    """Say that it is ready, and serve until the `channel`, whose `descriptor` that is,
    is closed."""
    # With its peak: of what crashes or hangs, nothing later may be known.
    ready = frames.encode_answer(frames.READY, b"", "", _peak_kb())
    os.write(descriptor, ready)

    def shed_and_say_so() -> None:
        shed()
        os.write(descriptor, _HAS_SHED)

    while (event := frames.read_event(channel, shed_and_say_so)) is not None:
        _serve(channel, function, *event)


def take_up() -> failures.Failure | None:
    """What the import made, and each clone has anew."""
    try:
        event_loops.reopen()
        unused_sockets.reopen()
        tmp_files.restore()
    except OSError as error:
        return failures.Failure(
            "Runtime.AfterRestoreError",
            f"what the import has left could not be made anew: {error}",
        )
    return None


def prepare(header: frames.EventHeader) -> context.LambdaContext | failures.Failure:
    """The context of an invocation that is about to run; log and environment know of it
    from then on."""
    request_id = header.request_id
    tenant_id = header.tenant_id or None
    logging_setup.set_request_id(request_id, tenant_id)
    if header.trace_id:
        os.environ[_TRACE] = header.trace_id
    elif _TRACE in os.environ:
        del os.environ[_TRACE]
    return context.make(
        request_id,
        header.deadline_ms,
        header.function_arn,
        header.client_context,
        tenant_id,
    )


def _serve(
    channel: socket.socket,
    function: Any,
    header: frames.EventHeader,
    payload: bytes,
) -> None:
    request_id = header.request_id
    made = prepare(header)

    def framed(kind: int) -> Callable[[bytes], None]:
        return lambda piece: channel.sendall(frames.encode_answer(kind, piece))

    pieces = streaming.Pieces(framed(frames.STREAM_BEGIN), framed(frames.STREAM_PIECE))
    if isinstance(made, failures.Failure):
        answer = handler.failed(made, request_id)
    else:
        answer = handler.invoke(function, payload, made, pieces)
    kind = frames.ANSWER if answer.ok else frames.ERROR
    flush()
    channel.sendall(
        frames.encode_answer(
            frames.STREAM_END if pieces.has_begun else kind,
            answer.payload,
            answer.error_type,
            _peak_kb(),
        )
    )


def _peak_kb() -> int:
    """The most memory that this process had at once."""
    return _unread_kb + _peak_read_kb()


def _peak_read_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def flush() -> None:
    """Have out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - see REHEARSALS
            stream.flush()
        except Exception:  # noqa: BLE001, S110 - the tenant may have put anything there
            pass


def _exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & _MAX_EXIT
    print(error.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1
