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
import posix
import resource
import socket
import sys
from operator import attrgetter, itemgetter, methodcaller

from sandlot_sandbox import frames
from sandlot_sandbox.guest import (
    awslambdaricmain,
    context,
    event_loops,
    failures,
    footprint,
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

_MAX_EXIT = 255
_ENVIRON = posix.environ
"""What `os.environ` shows. A trace is put there alone: of a variable that is set, the C
library keeps each value that it ever had, 160 bytes for every event."""

_TRACE = b"_X_AMZN_TRACE_ID"
_LATER_MS = 1 << 62
"""The deadline of our own events: with one that has passed they would be `ASIDE`."""

_TRACE_OF_OURS = "Root=1-0-0;Parent=0;Sampled=0"
REHEARSALS = 20
"""Enough for the interpreter to settle on specialised instructions, which it would
otherwise write into the code of every clone. On a call of a class, of most of what
takes its arguments as a tuple, or by keyword, it never settles, and counts each in the
code: so on this way such calls are spelled `f(*(a, b))`, which it does not count."""

_PASSES = 2
"""Of a standby, over the way of an event."""

_Socket = socket.socket
"""The channel's class. The import may put another into the module, as gevent does."""

_FUNCTION = type(lambda: None)
"""Plain ones. What else may be a handler runs code of its own when it is looked at."""


_AT_ONCE = 16_384
"""Bytes that are read at once: most events come whole, and none is followed by another
unasked."""

_HAS_SHED = frames.encode_answer(frames.HAS_SHED, b"")
_unread_kb = [0]
"""Of the memory that a clone has from its zygote, what it has not come to yet. In a
list: to set a module's variable is to write to what all of the module's code reads."""

_usage, _OURS = resource.getrusage, resource.RUSAGE_SELF
_peak_of = attrgetter("ru_maxrss")
_flush = methodcaller("flush")
_begins = bytes.startswith
_send, _receive = _Socket.sendall, _Socket.recv
_behind_shed = itemgetter(slice(len(frames.SHED), None))


def begin_with(whole_kb: int) -> None:
    """Instances have so much memory from the start, whatever the kernel says of them:
    it counts what they have read (`sealed_memory.py`)."""
    _unread_kb[0] = whole_kb


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
    failure: failures.Failure | None,
    is_ahead: bool,
    shed: Callable[[], int],
    take_up: Callable[[], failures.Failure | None],
) -> int:
    """Initialise, announce, serve events until the channel is closed. The status to
    exit with.

    `function` is the handler if the zygote has imported it, else None. `channel` was
    the zygote's; behind its descriptor there is the instance's now. `failure` is why
    this clone could not be made different from others, if that failed. One that
    `is_ahead` of need writes to its pages before it announces itself. What `shed` gives
    back it has again when it next writes there. `take_up` is the function below, unless
    this is a rehearsal.
    """
    # All in one: what waits for an event has as few frames as can be, each of which
    # counts as a reference to its function and its code.
    try:
        _unread_kb[0] -= _peak_read_kb()
        if _unread_kb[0] < 0:
            _unread_kb[0] = 0
        if function is None:
            function = handler.load_handler(handler_name)
            failure = function if isinstance(function, failures.Failure) else None
        elif failure is None:
            failure = take_up(*())
        if failure is not None:
            _tell_of_failed_init(channel, failure)
            return 1
        if is_ahead:
            _take_pages(function)
            footprint.take(frames.read_footprint(channel)[0])
        # Of what it does not need it has nothing to refer to.
        del handler_name, failure, is_ahead, take_up
        # With its peak: of what crashes or hangs, nothing later may be known.
        ready = frames.encode_answer(frames.READY, b"", "", _peak_kb())
        _send(*(channel, ready))
        while begun := _receive(*(channel, _AT_ONCE)):
            while _begins(*(begun, frames.ASIDE)):
                if _begins(*(begun, frames.SHED)):
                    shed(*())
                    _send(*(channel, _HAS_SHED))
                    begun = _behind_shed(*(begun,))
                else:
                    begun = _mind_footprint(channel, begun)
                begun = begun or _receive(*(channel, _AT_ONCE))
            event = frames.read_event(channel, begun)
            if event is None:
                break
            _serve(channel, function, event[0], event[1])
            del event, begun
    except SystemExit as error:
        return _exit_status(error)
    except BaseException:  # noqa: BLE001 - the interpreter would do the same
        with contextlib.suppress(BaseException):  # it may be the tenant's
            sys.excepthook(*sys.exc_info())
        return 1
    else:
        return 0
    finally:
        flush()


@contextlib.contextmanager
def rehearsed() -> Iterator[socket.socket]:
    """In the zygote, the channel of somebody who goes the way of a clone, so that
    clones find it trodden. He finds one of nobody's events there."""
    whole_kb = _unread_kb[0]
    with _pair() as (ours, theirs):
        theirs.sendall(frames.SHED + _event_of_ours())
        theirs.shutdown(socket.SHUT_WR)
        yield ours
    _unread_kb[0] = whole_kb
    _ENVIRON.pop(_TRACE, None)  # that of our own event


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


def _mind_footprint(channel: socket.socket, begun: bytes) -> bytes:
    """Tell of it, or take another's and say so; what has come behind that order."""
    if begun.startswith(frames.LOOK):
        told, behind = footprint.told(), begun[len(frames.LOOK) :]
    else:
        pages, behind = frames.read_footprint(channel, begun)
        told = b""
        footprint.take(pages)
    channel.sendall(frames.encode_answer(frames.FOOTPRINT, told))
    return behind


def _serve_an_event_of_ours(ours: socket.socket, theirs: socket.socket) -> None:
    """Nothing of the tenant's runs for it."""
    event = _event_of_ours()
    theirs.sendall(event)
    arrived = frames.read_event(ours, ours.recv(_AT_ONCE))
    assert arrived is not None  # noqa: S101
    _serve(ours, echo, arrived[0], arrived[1])
    theirs.recv(len(event) * 2)


def _event_of_ours() -> bytes:
    header = frames.EventHeader("", _LATER_MS, "", trace_id=_TRACE_OF_OURS)
    return frames.encode_event(header, b'{"key": ["value", 1, null]}')


def echo(event: object, _: object) -> object:
    """The handler of nobody's events."""
    return {"event": event}


def _tell_of_failed_init(channel: socket.socket, failure: failures.Failure) -> None:
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


def take_up() -> failures.Failure | None:
    """What the import made, and each clone has anew; then what the tenant has to do."""
    try:
        event_loops.reopen()
        unused_sockets.reopen()
        tmp_files.restore()
    except OSError as error:
        return failures.Failure(
            "Runtime.AfterRestoreError",
            f"what the import has left could not be made anew: {error}",
        )
    return hooks.run_after_restore()


def prepare(header: frames.EventHeader) -> context.LambdaContext | failures.Failure:
    """The context of an invocation that is about to run; log and environment know of it
    from then on."""
    request_id = header.request_id
    tenant_id = header.tenant_id or None
    logging_setup.set_request_id(request_id, tenant_id)
    if header.trace_id:
        _ENVIRON[_TRACE] = header.trace_id.encode()
    elif _TRACE in _ENVIRON:
        del _ENVIRON[_TRACE]
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

    def send(kind: int, piece: bytes) -> None:
        _send(channel, frames.encode_answer(kind, piece))

    pieces = streaming.Pieces(
        *(
            lambda content_type: send(frames.STREAM_BEGIN, content_type),
            lambda piece: send(frames.STREAM_PIECE, piece),
        )
    )
    if isinstance(made, failures.Failure):
        answer = handler.failed(made, request_id)
    else:
        answer = handler.invoke(function, payload, made, pieces)
    kind = frames.ANSWER if answer.ok else frames.ERROR
    flush()
    told = frames.encode_answer(
        frames.STREAM_END if pieces.has_begun else kind,
        answer.payload,
        answer.error_type,
        _peak_kb(),
    )
    _send(*(channel, told))


def _peak_kb() -> int:
    """The most memory that this process had at once."""
    return _unread_kb[0] + _peak_read_kb()


def _peak_read_kb() -> int:
    peak_kb: int = _peak_of(*(_usage(_OURS),))
    return peak_kb


def flush() -> None:
    """Have out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - see REHEARSALS
            _flush(*(stream,))
        except Exception:  # noqa: BLE001, S110 - the tenant may have put anything there
            pass


def _exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & _MAX_EXIT
    with contextlib.suppress(BaseException):  # the text may be the tenant's, too
        print(error.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1
